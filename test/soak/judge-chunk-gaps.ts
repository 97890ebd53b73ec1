// What a measurement of gaps says: kept, changed, or nothing because the machine itself was too restless to tell.
import { readPercentile } from './watch-process.ts';

/** Gaps of all streams of one kind. */
export interface GapSample {
  /** Milliseconds by which each gap the client saw differs from the one the engine made. */
  readonly differencesMs: readonly number[];
  /** Chunks that reached the client in a packet of their own. */
  readonly separate: number;
}

export interface GapFigures {
  readonly gaps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Share of chunks that came alone. */
  readonly separateShare: number;
}

export interface GapVerdict {
  readonly verdict: 'kept' | 'changed' | 'inconclusive';
  /** What the gateway adds at p99, ms. */
  readonly addedP99Ms: number;
  readonly direct: GapFigures;
  readonly through: GapFigures;
  readonly reason: string;
}

/** Issue 3: gaps through the gateway equal those of the engine within this at p99. */
const ALLOWED_MS = 1;
/** Chunks that may come together which came apart without the gateway. */
const ALLOWED_TOGETHER = 0.01;

/** Judges what the gateway does to gaps by what the same machine does without it. */
export function judgeChunkGaps(sample: { readonly direct: GapSample; readonly through: GapSample }): GapVerdict {
  const direct = describe(sample.direct);
  const through = describe(sample.through);
  const addedP99Ms = through.p99Ms - direct.p99Ms;
  const figures = { addedP99Ms, direct, through };
  const isTogether = through.separateShare < direct.separateShare - ALLOWED_TOGETHER;
  if (!isTogether && addedP99Ms <= ALLOWED_MS) {
    const reason = `the gateway adds ${addedP99Ms.toFixed(3)} ms at p99, ${ALLOWED_MS} ms are allowed`;
    return { verdict: 'kept', ...figures, reason };
  }
  // A busy machine delays the longer way more often: it takes a quiet one to blame the gateway.
  if (direct.p99Ms > ALLOWED_MS) {
    const reason = `the machine is not idle: without the gateway it changes gaps by ${direct.p99Ms.toFixed(3)} ms at p99`;
    return { verdict: 'inconclusive', ...figures, reason };
  }
  const reason = isTogether
    ? 'chunks that the engine sent apart reach the client together'
    : `the gateway adds ${addedP99Ms.toFixed(3)} ms at p99, more than ${ALLOWED_MS} ms`;
  return { verdict: 'changed', ...figures, reason };
}

function describe({ differencesMs, separate }: GapSample): GapFigures {
  return {
    gaps: differencesMs.length,
    p50Ms: readPercentile(differencesMs, 0.5),
    p99Ms: readPercentile(differencesMs, 0.99),
    maxMs: readPercentile(differencesMs, 1),
    separateShare: separate / Math.max(1, differencesMs.length),
  };
}
