// Plays many schedules, a few at a time, and adds up what they came to. Not here: the command line (run.ts).
import { drawSchedule } from './draw-schedule.ts';
import { playSchedule, type ScheduleResult } from './play-schedule.ts';

export interface ChaosOptions {
  readonly seed: number;
  /** Numbers of the schedules to play. */
  readonly indices: readonly number[];
  /** Schedules played at the same time: most of one is waiting. */
  readonly parallel: number;
  readonly onResult?: (result: ScheduleResult, done: number) => void;
}

export interface ChaosSummary {
  readonly schedules: number;
  /** Requests sent, and answers that came whole. */
  readonly requests: number;
  readonly completed: number;
  readonly records: number;
  readonly lost: number;
  readonly doubled: number;
  /** Tokens in the ledger minus tokens the engines counted, of answers that came whole. */
  readonly tokenDifference: number;
  readonly differenceNanoUsd: bigint;
  /** Faults by kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** `schedule K: …` for each promise that was broken. */
  readonly problems: readonly string[];
}

/** Numbers of the first `count` schedules, or of those that hold one of the kinds. Throws RangeError where too few of 100 times as many do. */
export function chooseSchedules(seed: number, count: number, kinds?: readonly string[]): readonly number[] {
  if (kinds === undefined) return Array.from({ length: count }, (_, index) => index);
  const chosen: number[] = [];
  for (let index = 0; index < count * 100 && chosen.length < count; index += 1) {
    if (drawSchedule(seed, index).faults.some(({ kind }) => kinds.includes(kind))) chosen.push(index);
  }
  if (chosen.length < count) throw new RangeError(`no ${count} schedules of seed ${seed} hold ${kinds.join(' or ')}`);
  return chosen;
}

/** Processes that a schedule may have at a time: each ends with this one, by a listener of its own. */
const PROCESSES_MAX = 4;

/** Plays the schedules; a stage that cannot be built counts as a problem of its schedule. */
export async function runSchedules({ seed, indices, parallel, onResult }: ChaosOptions): Promise<ChaosSummary> {
  process.setMaxListeners(Math.max(process.getMaxListeners(), 10 + parallel * PROCESSES_MAX));
  const results: ScheduleResult[] = [];
  const problems: string[] = [];
  const waiting = [...indices];
  const play = async () => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      try {
        const result = await playSchedule(drawSchedule(seed, index));
        results.push(result);
        problems.push(...result.problems.map((problem) => `schedule ${index}: ${problem}`));
        onResult?.(result, results.length);
      } catch (error) {
        problems.push(`schedule ${index}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, parallel) }, play));
  return addUp(results, problems);
}

function addUp(results: readonly ScheduleResult[], problems: readonly string[]): ChaosSummary {
  const sum = (read: (result: ScheduleResult) => number) => results.reduce((total, result) => total + read(result), 0);
  const faults: Record<string, number> = {};
  for (const fault of results.flatMap(({ schedule }) => schedule.faults)) {
    const name = fault.kind === 'link' ? `${fault.to} link ${fault.mode}` : fault.kind;
    faults[name] = (faults[name] ?? 0) + 1;
  }
  return {
    schedules: results.length,
    requests: sum(({ asked }) => asked),
    completed: sum(({ whole }) => whole),
    records: sum(({ records }) => records),
    lost: sum(({ lost }) => lost),
    doubled: sum(({ doubled }) => doubled),
    tokenDifference: sum(({ tokensRecorded, tokensOfEngines }) => tokensRecorded - tokensOfEngines),
    differenceNanoUsd: results.reduce((total, { differenceNanoUsd }) => total + differenceNanoUsd, 0n),
    faults,
    problems,
  };
}
