// Plays a trace to one or more gateway processes over one store, second by second of virtual time, until everything is settled.
// Not here: how good the result is (score-run.ts).
import { readAllRecords } from './read-all-records.ts';
import { createRunFacts, type NamedProfile } from './run-facts.ts';
import { GatewayProcess, type ProcessCounters, RUN_START_MS, type RunTime } from './gateway-process.ts';
import { ENGINE_CLOCK_MS, type EngineTrace, type TracedRequest } from './run-engine.ts';
import type { IterationRow } from '#telemetry/iteration-rows.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import type { BookCell, RollupCell } from '#domain/books.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { mixSeed } from '#simulator/seeded-random.ts';

/** Who watches the engine. */
export interface ReplayOptions {
  readonly processes: number;
  readonly profile: NamedProfile;
  /** Whether the engine says how much of a prompt came from its prefix cache. */
  readonly cachedKnown: boolean;
  /** Process 1 dies at this instant and comes back 20 s later; null: all live. Its trace must have been made with the same death. */
  readonly deathAtMs: number | null;
  /** True: the processes learn from what they freeze, and apply it. Default false. */
  readonly learns?: boolean;
}

/** What the store holds after a run. */
export interface ReplayResult {
  readonly records: readonly SettledRecordJson[];
  readonly books: readonly BookCell[];
  readonly cells: readonly RollupCell[];
  readonly counters: ProcessCounters;
  /** Records and messages that did not settle. */
  readonly unsettled: number;
  /** First and last frozen window of the run. */
  readonly windows: { readonly first: number; readonly last: number };
  /** The store's facts at the end. */
  readonly facts: FactBook;
}

/** Time for which a killed process stays away. */
export const DOWN_MS = 20_000;
/** Clocks of real machines are apart; the accounting plane slews them to the store's. */
const CLOCK_OFFSETS_MS = [0, 180, -260] as const;
/** The horizon, and room for claims, after the last request. */
const SETTLING_MS = 60_000;

/** The process a request is sent to by its load balancer: any but the one that is down. */
export function processOf(
  request: { readonly id: number; readonly sentAtMs: number },
  options: Pick<ReplayOptions, 'processes' | 'deathAtMs'>,
): number {
  const chosen = mixSeed(request.id, 77) % options.processes;
  const { deathAtMs } = options;
  const down = deathAtMs !== null && request.sentAtMs >= deathAtMs && request.sentAtMs < deathAtMs + DOWN_MS;
  return chosen === 1 && down ? 2 : chosen;
}

/** Replays and settles; the store lives in memory and is gone afterwards. */
export async function replayTrace(trace: EngineTrace, options: ReplayOptions): Promise<ReplayResult> {
  const time: RunTime = { nowMs: 0 };
  const store = new MemorySettlementStore({ now: () => RUN_START_MS + time.nowMs });
  const processes = Array.from(
    { length: options.processes },
    (_, number) =>
      new GatewayProcess({
        store,
        time,
        clockOffsetMs: CLOCK_OFFSETS_MS[number] ?? 0,
        facts: createRunFacts(trace.shape, options.profile),
        profile: options.profile,
        cachedKnown: options.cachedKnown,
        learns: options.learns ?? false,
        readsEngine: number === 0 && options.profile.readsEngine === true,
      }),
  );
  try {
    for (const process of processes) await process.start();
    const first = (await store.readStatus()).frontier ?? 0;
    await playSeconds(trace, { processes, time, options });
    const period = { from: 0, to: Number.MAX_SAFE_INTEGER };
    const counters = processes.map((process) => process.counters());
    return {
      records: await readAllRecords(store),
      books: await store.readBooks(period),
      cells: await store.readRollups(period, 'hour'),
      counters: {
        late: counters.reduce((sum, counter) => sum + counter.late, 0),
        overEstimates: counters.reduce((sum, counter) => sum + counter.overEstimates, 0),
        underEstimates: counters.reduce((sum, counter) => sum + counter.underEstimates, 0),
      },
      unsettled: processes.reduce((sum, process) => sum + process.unsettled(), 0),
      windows: { first: first + 1, last: (await store.readStatus()).frontier ?? 0 },
      facts: await store.readFacts(),
    };
  } finally {
    for (const process of processes) process.close();
  }
}

interface Stage {
  readonly processes: readonly GatewayProcess[];
  readonly time: RunTime;
  readonly options: ReplayOptions;
}

async function playSeconds(trace: EngineTrace, stage: Stage): Promise<void> {
  const { processes, time, options } = stage;
  const bySecond = groupBySecond(trace);
  const rowsBySecond = groupRows(trace);
  const endMs = Math.ceil((trace.endAtMs + SETTLING_MS) / 1000) * 1000;
  let down = false;
  for (let second = 0; second * 1000 < endMs; second += 1) {
    const backAtMs = (options.deathAtMs ?? Infinity) + DOWN_MS;
    for (const event of bySecond[second] ?? []) {
      if (!down && options.deathAtMs !== null && event.atMs >= options.deathAtMs && event.atMs < backAtMs) {
        time.nowMs = Math.max(time.nowMs, options.deathAtMs);
        processes[1]?.kill();
        down = true;
      }
      time.nowMs = Math.max(time.nowMs, event.atMs);
      await playEvent(event, processes[processOf(event.request.plan, options)]);
    }
    time.nowMs = (second + 1) * 1000;
    if (options.profile.readsEngine === true) processes[0]?.readRows(rowsBySecond[second] ?? []);
    if (down && time.nowMs >= backAtMs) {
      await processes[1]?.restart();
      down = false;
    }
    for (const [number, process] of processes.entries()) {
      if (!(down && number === 1)) await process.tick();
    }
  }
}

interface WireEvent {
  readonly atMs: number;
  readonly kind: 'begin' | 'chunk' | 'end';
  readonly request: TracedRequest;
}

async function playEvent(event: WireEvent, process: GatewayProcess | undefined): Promise<void> {
  if (event.kind === 'begin') process?.begin(event.request);
  else if (event.kind === 'chunk') process?.chunk(event.request);
  else await process?.end(event.request);
}

/** Rows by the second in which they were written: what a read at its end drains. */
function groupRows(trace: EngineTrace): readonly (readonly IterationRow[])[] {
  const seconds: IterationRow[][] = [];
  for (const row of trace.rows) {
    (seconds[Math.floor(((row.writtenMs ?? 0) - ENGINE_CLOCK_MS) / 1000)] ??= []).push(row);
  }
  return seconds;
}

/** The wire in order: within a second by time; equal times keep begin, chunks, end of one request in that order. */
function groupBySecond(trace: EngineTrace): readonly (readonly WireEvent[])[] {
  const seconds: WireEvent[][] = [];
  const add = (event: WireEvent): void => {
    (seconds[Math.floor(event.atMs / 1000)] ??= []).push(event);
  };
  for (const request of trace.requests) {
    add({ atMs: request.plan.sentAtMs, kind: 'begin', request });
    for (const atMs of request.chunkAtMs) add({ atMs, kind: 'chunk', request });
    if (Number.isFinite(request.endAtMs)) add({ atMs: request.endAtMs, kind: 'end', request });
  }
  for (const events of seconds) events?.sort((a, b) => a.atMs - b.atMs);
  return seconds;
}
