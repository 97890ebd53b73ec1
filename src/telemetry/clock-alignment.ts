// Where another machine's clock stands against ours, from instants it wrote and when we read them. Not here: what was written.

/** An age is remembered this long, so that a clock that drifts is followed. */
const BUCKET_MS = 30_000;
const BUCKETS_MAX = 40;
/** Answers with instants before the alignment is trusted: one that was written long before it was read says little. */
const ANSWERS_MIN = 3;
/** A clock that goes back by more than this was set, and everything known of it is void. */
const STEP_BACK_MS = 1000;

/**
 * What was written is never read before, so that the least of (read − written) over many answers is the difference of the clocks plus the
 * shortest way: of an engine that writes a row per iteration, a few milliseconds too late. Time zones do not matter.
 */
export class ClockAlignment {
  #buckets: { readonly fromMs: number; least: number }[] = [];
  #answers = 0;
  #lastWrittenMs = Number.NEGATIVE_INFINITY;

  /** An answer read at `readMs` (ours) whose newest instant is `writtenMs` (theirs). False: their clock was set, and alignment begins anew. */
  observe(readMs: number, writtenMs: number): boolean {
    const isSteady = writtenMs >= this.#lastWrittenMs - STEP_BACK_MS;
    if (!isSteady) this.reset();
    this.#lastWrittenMs = Math.max(this.#lastWrittenMs, writtenMs);
    this.#answers += 1;
    const difference = readMs - writtenMs;
    const newest = this.#buckets.at(-1);
    if (newest === undefined || readMs - newest.fromMs >= BUCKET_MS) {
      this.#buckets.push({ fromMs: readMs, least: difference });
      if (this.#buckets.length > BUCKETS_MAX) this.#buckets.shift();
    } else newest.least = Math.min(newest.least, difference);
    return isSteady;
  }

  /** Their instant on our clock, ms; null while too little was seen. */
  toOurs(writtenMs: number): number | null {
    if (this.#answers < ANSWERS_MIN) return null;
    return writtenMs + this.#buckets.reduce((least, bucket) => Math.min(least, bucket.least), Number.POSITIVE_INFINITY);
  }

  /** Forgets everything. */
  reset(): void {
    this.#buckets = [];
    this.#answers = 0;
    this.#lastWrittenMs = Number.NEGATIVE_INFINITY;
  }
}
