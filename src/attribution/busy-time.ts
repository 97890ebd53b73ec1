// B, the busy milliseconds of a window: requests in flight, made more exact by what the engine's rows or DCGM say. Pure.
// Not here: what is charged for them (freeze-window.ts), who asked the engine (telemetry).
import type { BusySource, WindowActivity } from '#domain/busy-source.ts';
import type { Publication } from '#domain/settlement.ts';
import { BUSY_MAP_BYTES, countBusyMs, markBusy, mergeBusy, parseBusyMap } from './busy-map.ts';

/** Busy time of one window of one pool. */
export interface BusyTime {
  /** B, 0 … 1000. */
  readonly busyMs: number;
  readonly source: BusySource;
  /** Milliseconds with at least one attempt in flight. */
  readonly inFlightMs: number;
}

const WINDOW_MS = 1000;

/**
 * Without activity B is the milliseconds in flight. With it, B = min(inFlight, busyMs of the covered part + milliseconds in flight outside it): min(engineBusyMs, 1000) of
 * settlement.md where the whole window is covered. It never exceeds the time in flight, since what an engine does while nothing of ours is
 * there is not ours to pay. `working` are publications whose work can be priced; their maps are sound.
 */
export function readBusyTime(working: readonly Publication[], activity: WindowActivity | null): BusyTime {
  const flight = new Uint8Array(BUSY_MAP_BYTES);
  for (const publication of working) {
    const map = parseBusyMap(publication.busy);
    if (map !== null) mergeBusy(flight, map);
  }
  const inFlightMs = countBusyMs(flight);
  if (activity === null) return { busyMs: inFlightMs, source: 'in_flight', inFlightMs };
  const covered = new Uint8Array(BUSY_MAP_BYTES);
  markBusy(covered, activity.fromMs, activity.toMs);
  const outside = flight.map((byte, index) => byte & ~(covered[index] ?? 0));
  return {
    busyMs: Math.min(inFlightMs, activity.busyMs + countBusyMs(outside)),
    source: activity.source,
    inFlightMs,
  };
}

/**
 * The best activity among a window's publications, whatever their order: the engine's before DCGM's, then the one that covers more, then the one that is busy longer. Null
 * where no publication holds a sound one.
 */
export function chooseActivity(publications: readonly Publication[]): WindowActivity | null {
  let best: WindowActivity | null = null;
  for (const { activity } of publications) {
    if (isSoundActivity(activity) && (best === null || compare(activity, best) < 0)) best = activity;
  }
  return best;
}

/** Milliseconds of GPU activity (DCGM) that the publications tell of; what is not a count is ignored. */
export function sumDeviceActiveMs(publications: readonly Publication[]): number {
  return publications.reduce(
    (sum, { deviceActiveMs }) => sum + (isMs(deviceActiveMs, DEVICE_ACTIVE_MS_MAX) ? deviceActiveMs : 0),
    0,
  );
}

/** An hour: no sample is longer. */
const DEVICE_ACTIVE_MS_MAX = 3_600_000;

function isSoundActivity(value: unknown): value is WindowActivity {
  if (typeof value !== 'object' || value === null) return false;
  const { source, fromMs, toMs, busyMs } = value as Partial<WindowActivity>;
  return (
    (source === 'engine' || source === 'dcgm') &&
    isMs(fromMs, WINDOW_MS) &&
    isMs(toMs, WINDOW_MS) &&
    fromMs < toMs &&
    isMs(busyMs, toMs - fromMs)
  );
}

function isMs(value: unknown, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

function compare(left: WindowActivity, right: WindowActivity): number {
  if (left.source !== right.source) return left.source === 'engine' ? -1 : 1;
  const wider = right.toMs - right.fromMs - (left.toMs - left.fromMs);
  return wider !== 0 ? wider : right.busyMs - left.busyMs || left.fromMs - right.fromMs;
}
