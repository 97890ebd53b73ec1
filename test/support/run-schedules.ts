// Many seeded schedules one after the other over one kind of store, each held against the world without faults.
// Not here: what one schedule does (settlement-schedule.ts), the stores (scheduled-stores.ts).
import type { StoreFarm } from './scheduled-stores.ts';
import { runSchedule, type Schedule, type ScheduleResult } from './settlement-schedule.ts';

export interface SchedulesResult {
  readonly schedules: number;
  readonly requests: number;
  readonly lateWindows: number;
  /** Σ over all schedules of |booked − expected| of each request, and of what the books themselves do not explain. */
  readonly differenceNanoUsd: bigint;
  readonly faults: ScheduleResult['faults'];
  /** One sentence for each broken promise; empty: none. */
  readonly problems: readonly string[];
}

export interface SchedulesOptions {
  readonly farm: StoreFarm;
  readonly schedules: number;
  /** Of the first; the others count on from there. Even seeds stay within D, odd ones go beyond. */
  readonly seed: number;
  readonly onDone?: (done: number, soFar: SchedulesResult) => void;
}

/** Which of the two kinds of schedule a seed runs. */
export function absencesOf(seed: number): Schedule['absences'] {
  return seed % 2 === 0 ? 'within' : 'beyond';
}

/** Runs them all; a schedule that fails is a problem, and the next one follows. */
export async function runSchedules({
  farm,
  schedules,
  seed: first,
  onDone,
}: SchedulesOptions): Promise<SchedulesResult> {
  const faults = { kills: 0, leaves: 0, partitions: 0, outages: 0, lost: 0, rollbacks: 0 };
  const problems: string[] = [];
  const sum = { schedules: 0, requests: 0, lateWindows: 0, differenceNanoUsd: 0n, faults, problems };
  for (let seed = first; seed < first + schedules; seed += 1) {
    const absences = absencesOf(seed);
    try {
      const result = await runSchedule({ seed, absences, createStore: farm.createStore });
      const difference = differenceOf(result);
      sum.requests += result.requests;
      sum.lateWindows += result.lateWindows;
      sum.differenceNanoUsd += difference;
      for (const [fault, count] of Object.entries(result.faults)) faults[fault as keyof typeof faults] += count;
      if (difference !== 0n) problems.push(`seed ${seed}: the books differ by ${difference} nanodollars`);
      if (absences === 'within' && result.lateWindows > 0)
        problems.push(`seed ${seed}: ${result.lateWindows} windows are late though nobody was away for D`);
    } catch (error) {
      problems.push(`seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
    sum.schedules += 1;
    onDone?.(sum.schedules, sum);
  }
  return sum;
}

function differenceOf(result: ScheduleResult): bigint {
  const { booked, expected, capacityNanoUsd, chargedNanoUsd, idleNanoUsd, claimedNanoUsd, alwaysCapacity } = result;
  let difference = 0n;
  for (const id of new Set([...booked.keys(), ...expected.keys()]))
    difference += distance(booked.get(id) ?? 0n, expected.get(id) ?? 0n);
  const lines = [...booked.values()].reduce((sum, cost) => sum + cost, 0n);
  return (
    difference +
    distance(capacityNanoUsd, chargedNanoUsd + idleNanoUsd) +
    distance(claimedNanoUsd, chargedNanoUsd) +
    distance(lines, claimedNanoUsd) +
    distance(alwaysCapacity.booked, alwaysCapacity.expected)
  );
}

function distance(a: bigint, b: bigint): bigint {
  return a > b ? a - b : b - a;
}
