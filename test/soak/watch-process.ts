// What a process holds while it works: descriptors and resident memory over time, and whether they grow.
import { readdirSync, readFileSync } from 'node:fs';

/** One look at a process. */
export interface ProcessSample {
  /** X of the fit: work done so far, or seconds. */
  readonly at: number;
  readonly descriptors: number;
  readonly residentBytes: number;
}

/** Reads /proc; throws ENOENT when the process has ended. */
export function sampleProcess(pid: number, at: number): ProcessSample {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kibibytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  return { at, descriptors: readdirSync(`/proc/${pid}/fd`).length, residentBytes: kibibytes * 1024 };
}

/** Growth per unit of `at` by least squares; 0 for fewer than two points. */
export function fitSlope(samples: readonly ProcessSample[], read: (sample: ProcessSample) => number): number {
  const count = samples.length;
  if (count < 2) return 0;
  const meanX = samples.reduce((sum, { at }) => sum + at, 0) / count;
  const meanY = samples.reduce((sum, sample) => sum + read(sample), 0) / count;
  let above = 0;
  let below = 0;
  for (const sample of samples) {
    above += (sample.at - meanX) * (read(sample) - meanY);
    below += (sample.at - meanX) ** 2;
  }
  return below === 0 ? 0 : above / below;
}

/** The value below which `share` of the numbers lie; NaN without numbers. */
export function readPercentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
