// What the gateway is held to, as ratios to nginx in the same run or as absolute limits, and the verdict on a run.
// Source: performance targets of the project's design notes, first target and where we want to be.
import type { CandidateName } from '#test/bench/candidate.ts';
import type { Figures } from '#test/bench/measure.ts';

/** Medians of each candidate that was measured. */
export type Medians = Partial<Record<CandidateName, Figures>>;

/** A target. `compute` returns undefined where the run did not measure what it needs. */
export interface Target {
  readonly title: string;
  readonly bound: 'at most' | 'at least';
  readonly limit: number;
  readonly goal: number;
  readonly unit: '× nginx' | 'ms' | 'kB' | 'MB' | '%';
  compute(medians: Medians): number | undefined;
}

/** Verdict on one target; `value` is in the target's unit, rounded to three decimals against a rosy verdict. */
export interface Verdict extends Omit<Target, 'compute'> {
  readonly value: number | undefined;
  readonly verdict: 'pass' | 'miss' | 'not measured';
}

function ratio(name: keyof Figures): Target['compute'] {
  return ({ gateway, nginx }) => {
    const [ours, theirs] = [gateway?.[name], nginx?.[name]];
    return ours === undefined || theirs === undefined || theirs === 0 ? undefined : ours / theirs;
  };
}

/** A figure of the gateway, less the same of the direct way where `less` is 'direct'. */
function absolute(name: keyof Figures, unitSize: number, less: 'direct' | 'nothing'): Target['compute'] {
  return ({ gateway, direct }) => {
    const [ours, base] = [gateway?.[name], less === 'direct' ? direct?.[name] : 0];
    return ours === undefined || base === undefined ? undefined : (ours - base) / unitSize;
  };
}

/** Left out: workers, which need a load with CPUs of its own. */
export const TARGETS: readonly Target[] = [
  {
    title: 'CPU per request, saturated',
    bound: 'at most',
    limit: 4.5,
    goal: 3,
    unit: '× nginx',
    compute: ratio('cpuMicrosPerRequest'),
  },
  {
    title: 'CPU per chunk at 10k/s',
    bound: 'at most',
    limit: 1.6,
    goal: 1.3,
    unit: '× nginx',
    compute: ratio('cpuMicrosPerChunk10k'),
  },
  {
    title: 'CPU per chunk at 25k/s',
    bound: 'at most',
    limit: 1.45,
    goal: 1.2,
    unit: '× nginx',
    compute: ratio('cpuMicrosPerChunk25k'),
  },
  {
    title: 'chunks per second on one core',
    bound: 'at least',
    limit: 0.65,
    goal: 0.8,
    unit: '× nginx',
    compute: ratio('chunksPerSecond'),
  },
  {
    title: 'CPU with 1,000 chat users',
    bound: 'at most',
    limit: 70,
    goal: 50,
    unit: '%',
    compute: absolute('cpuPercentChatUsers', 1, 'nothing'),
  },
  {
    title: 'added p99 at 1,000 req/s',
    bound: 'at most',
    limit: 1.5,
    goal: 0.6,
    unit: 'ms',
    compute: absolute('latencyP99Micros', 1000, 'direct'),
  },
  {
    title: 'chunk delay p50 at 10k/s',
    bound: 'at most',
    limit: 1.4,
    goal: 1.2,
    unit: '× nginx',
    compute: ratio('chunkDelayP50Micros10k'),
  },
  {
    title: 'chunk delay p99 at 10k/s',
    bound: 'at most',
    limit: 2.5,
    goal: 1,
    unit: 'ms',
    compute: absolute('chunkDelayP99Micros10k', 1000, 'nothing'),
  },
  {
    title: 'RSS per open stream',
    bound: 'at most',
    limit: 60,
    goal: 30,
    unit: 'kB',
    compute: absolute('residentBytesPerStream', 1024, 'nothing'),
  },
  {
    title: 'RSS with 2,000 open streams',
    bound: 'at most',
    limit: 230,
    goal: 150,
    unit: 'MB',
    compute: absolute('residentBytesTotal', 1024 ** 2, 'nothing'),
  },
];

/** Judges the medians of a run against every target. */
export function judge(medians: Medians): readonly Verdict[] {
  return TARGETS.map(({ compute, ...target }) => {
    const exact = compute(medians);
    if (exact === undefined) return { ...target, value: undefined, verdict: 'not measured' };
    const isUpper = target.bound === 'at most';
    const value = (isUpper ? Math.ceil(exact * 1000) : Math.floor(exact * 1000)) / 1000;
    const passes = isUpper ? value <= target.limit : value >= target.limit;
    return { ...target, value, verdict: passes ? 'pass' : 'miss' };
  });
}

/** Middle value; the mean of the two middle ones for an even count. Throws on none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
  if (low === undefined || high === undefined) throw new Error('the median of nothing');
  return (low + high) / 2;
}
