// Token instants of streams that ran side by side → how long one decode step took at each number of running sequences.

/** One stream: its prompt, and when each of its tokens came (monotonic ms). */
export interface DecodeStream {
  readonly promptTokens: number;
  readonly tokenAtMs: readonly number[];
  /** Iterations per event, 1 unless the engine says that it bundles several. */
  readonly stepsPerEvent: number;
}

/** A span in which the same sequences decoded and nothing else was computed. */
export interface DecodeSegment {
  readonly batch: number;
  /** Tokens in the KV cache of all of them, in the middle of the span. */
  readonly contextTokens: number;
  /** Mean duration of one iteration, ms. */
  readonly stepMs: number;
  /** Iterations it is a mean of. */
  readonly steps: number;
}

/** Fewer steps are mostly the jitter of two instants. */
const STEPS_MIN = 12;

/**
 * Cuts the time after the last first token (before it somebody's prompt is computed) wherever a stream ends. The step time is a mean from
 * instant to instant, so that a late timer shifts it by its lateness over all the steps.
 */
export function readDecodeSegments(streams: readonly DecodeStream[]): readonly DecodeSegment[] {
  if (streams.length === 0) return [];
  const beginMs = Math.max(...streams.map(({ tokenAtMs }) => tokenAtMs[0] ?? Number.POSITIVE_INFINITY));
  const ends = streams.map(({ tokenAtMs }) => tokenAtMs.at(-1) ?? 0).filter((endMs) => endMs > beginMs);
  const segments: DecodeSegment[] = [];
  let fromMs = beginMs;
  for (const toMs of [...new Set(ends)].toSorted((left, right) => left - right)) {
    const segment = readSegment(streams, fromMs, toMs);
    if (segment !== undefined) segments.push(segment);
    fromMs = toMs;
  }
  return segments;
}

function readSegment(streams: readonly DecodeStream[], fromMs: number, toMs: number): DecodeSegment | undefined {
  const active = streams.filter(({ tokenAtMs }) => (tokenAtMs.at(-1) ?? 0) >= toMs);
  let durationMs = 0;
  let steps = 0;
  let contextTokens = 0;
  for (const { promptTokens, tokenAtMs, stepsPerEvent } of active) {
    const first = tokenAtMs.findIndex((atMs) => atMs >= fromMs);
    const last = tokenAtMs.findLastIndex((atMs) => atMs <= toMs);
    if (first < 0 || last <= first) return undefined;
    durationMs += (tokenAtMs[last] ?? 0) - (tokenAtMs[first] ?? 0);
    steps += (last - first) * stepsPerEvent;
    contextTokens += promptTokens + ((first + last) / 2 + 1) * stepsPerEvent;
  }
  const meanSteps = steps / active.length;
  if (active.length === 0 || meanSteps < STEPS_MIN) return undefined;
  return { batch: active.length, contextTokens, stepMs: durationMs / steps, steps: meanSteps };
}
