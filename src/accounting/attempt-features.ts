// What the wire shows of one attempt while it runs: instants, silence, and content events per 100 ms. Hot path: no allocation per chunk.
// Not here: turning it into work (work-timeline.ts, window-slices.ts).

/** An attempt whose answer began counts as busy at most this long past its last upstream byte (settlement.md). */
export const SILENCE_MS = 2000;
/** Length of one bucket of `s`, `u` and `n`. */
export const BUCKET_MS = 100;

const FIRST_BUCKETS = 32;
/** One hour of buckets: only reached if nothing was sealed for so long; later events count into the last one. */
const MAX_BUCKETS = 36_000;
const MAX_GAPS = 64;
/** What most attempts have of silences, and answers that do not stream of events. */
const NOTHING: readonly never[] = [];

/** A plain copy of an attempt's wire facts (epoch ms), small enough to stand in one journal line. */
export interface WireFacts {
  readonly startMs: number;
  readonly firstContentMs: number | null;
  readonly lastByteMs: number | null;
  /** Null while the attempt runs. */
  readonly endMs: number | null;
  /** Silences longer than SILENCE_MS after the answer began: [from, to) epoch ms, in order. */
  readonly gaps: readonly (readonly [fromMs: number, toMs: number])[];
  /** Number of the first bucket of `counts`: epoch ms ÷ 100. */
  readonly baseBucket: number;
  readonly counts: readonly number[];
  /** Content events in buckets before `baseBucket`. */
  readonly eventsBefore: number;
}

/** What changed since the last progress line: `[firstContentMs, lastByteMs, baseBucket, counts]`. */
export type ProgressFacts = readonly [number | null, number | null, number, readonly number[]];

/** Mutable wire facts of one attempt. All instants are epoch ms of the store's clock and are made non-decreasing here. */
export class AttemptFeatures {
  readonly startMs: number;
  readonly #silenceFromFirstByte: boolean;
  #firstContentMs: number | null = null;
  #lastByteMs: number | null = null;
  #endMs: number | null = null;
  #gaps: readonly (readonly [number, number])[] = NOTHING;
  #counts: Uint16Array | null = null;
  #baseBucket: number;
  #length = 0;
  #events = 0;
  #eventsBefore = 0;
  #reportedBucket: number;

  /** `silenceFromFirstByte`: silence counts from the first byte rather than from the first content, for work without tokens. */
  constructor(startMs: number, silenceFromFirstByte: boolean) {
    this.startMs = startMs;
    this.#silenceFromFirstByte = silenceFromFirstByte;
    this.#baseBucket = Math.floor(startMs / BUCKET_MS);
    this.#reportedBucket = this.#baseBucket;
  }

  /** Content events so far. */
  get events(): number {
    return this.#events;
  }

  get firstContentMs(): number | null {
    return this.#firstContentMs;
  }

  get endMs(): number | null {
    return this.#endMs;
  }

  get lastByteMs(): number | null {
    return this.#lastByteMs;
  }

  /** Bytes came from the engine at this instant. */
  bytes(epochMs: number): void {
    const last = this.#lastByteMs;
    if (last !== null) {
      const begun = this.#silenceFromFirstByte || this.#firstContentMs !== null;
      if (begun && epochMs - last > SILENCE_MS && this.#gaps.length < MAX_GAPS) {
        this.#gaps = [...this.#gaps, [last + SILENCE_MS, epochMs]];
      }
      if (epochMs < last) return;
    }
    this.#lastByteMs = epochMs;
  }

  /** `steps` content events passed at this instant. */
  content(epochMs: number, steps: number): void {
    if (steps <= 0) return;
    this.bytes(epochMs);
    this.#firstContentMs ??= Math.max(epochMs, this.startMs);
    const bucket = Math.min(
      MAX_BUCKETS - 1,
      Math.max(0, Math.floor(epochMs / BUCKET_MS) - this.#baseBucket, this.#length - 1),
    );
    let counts = this.#counts;
    if (counts === null || bucket >= counts.length) counts = this.#grow(bucket);
    counts[bucket] = (counts[bucket] ?? 0) + steps;
    this.#length = bucket + 1;
    this.#events += steps;
  }

  /** The last byte from the engine, or the abort. */
  end(epochMs: number): void {
    this.#endMs = Math.max(epochMs, this.startMs, this.#firstContentMs ?? 0);
    const last = this.#lastByteMs;
    const begun = last !== null && (this.#silenceFromFirstByte || this.#firstContentMs !== null);
    if (begun && this.#endMs - last > SILENCE_MS) {
      this.#gaps = [...this.#gaps, [last + SILENCE_MS, this.#endMs]];
    }
  }

  /** Content events in buckets whose end is at or before the given epoch ms. */
  eventsUntil(epochMs: number): number {
    const edge = Math.min(this.#length, Math.floor(epochMs / BUCKET_MS) - this.#baseBucket);
    let sum = this.#eventsBefore;
    const counts = this.#counts;
    if (counts !== null) for (let bucket = 0; bucket < edge; bucket += 1) sum += counts[bucket] ?? 0;
    return sum;
  }

  /** Content events of the bucket with this number (epoch ms ÷ 100). */
  eventsIn(bucketNumber: number): number {
    return this.#counts?.[bucketNumber - this.#baseBucket] ?? 0;
  }

  /** Silences so far, and the one now running when the last byte is older than SILENCE_MS at `untilMs`. */
  gapsUntil(untilMs: number): readonly (readonly [number, number])[] {
    const last = this.#lastByteMs;
    const begun = last !== null && (this.#silenceFromFirstByte || this.#firstContentMs !== null);
    if (this.#endMs !== null || !begun || untilMs - last <= SILENCE_MS) return this.#gaps;
    return [...this.#gaps, [last + SILENCE_MS, Number.POSITIVE_INFINITY]];
  }

  /** Forgets the buckets and silences before an instant: their windows are sealed. */
  dropBefore(epochMs: number): void {
    const passed = Math.floor(epochMs / BUCKET_MS) - this.#baseBucket;
    if (this.#gaps.length > 0) this.#gaps = this.#gaps.filter((gap) => gap[1] > epochMs);
    if (passed <= 0) return;
    const shift = Math.min(this.#length, passed);
    this.#eventsBefore = this.eventsUntil((this.#baseBucket + shift) * BUCKET_MS);
    this.#counts?.copyWithin(0, shift, this.#length);
    this.#counts?.fill(0, this.#length - shift, this.#length);
    this.#length -= shift;
    // Also where nothing came for so long: what comes next must not lie beyond the last bucket.
    this.#baseBucket += passed;
  }

  /** What changed since the last call; the last bucket comes again, since it may still have grown. */
  takeProgress(): ProgressFacts {
    const from = Math.max(this.#reportedBucket, this.#baseBucket);
    const counts = this.#copyCounts(from - this.#baseBucket);
    this.#reportedBucket = Math.max(from, this.#baseBucket + this.#length - 1);
    return [this.#firstContentMs, this.#lastByteMs, from, counts];
  }

  /** Takes one progress line back in at replay; counts replace what the same buckets held. */
  restoreProgress(progress: ProgressFacts): void {
    const [firstContentMs, lastByteMs, from, counts] = progress;
    this.#firstContentMs = firstContentMs;
    this.#lastByteMs = lastByteMs;
    for (const [index, count] of counts.entries()) {
      const bucket = from + index - this.#baseBucket;
      if (bucket < 0 || bucket >= MAX_BUCKETS) continue;
      const held = this.#counts !== null && bucket < this.#counts.length ? this.#counts : this.#grow(bucket);
      this.#events += count - (held[bucket] ?? 0);
      held[bucket] = count;
      this.#length = Math.max(this.#length, bucket + 1);
    }
  }

  /** A copy for the journal. */
  read(): WireFacts {
    return {
      startMs: this.startMs,
      firstContentMs: this.#firstContentMs,
      lastByteMs: this.#lastByteMs,
      endMs: this.#endMs,
      gaps: this.#gaps,
      baseBucket: this.#baseBucket,
      counts: this.#copyCounts(0),
      eventsBefore: this.#eventsBefore,
    };
  }

  /** Rebuilds the state from a journal line. */
  static restore(facts: WireFacts, silenceFromFirstByte: boolean): AttemptFeatures {
    const features = new AttemptFeatures(facts.startMs, silenceFromFirstByte);
    features.#baseBucket = facts.baseBucket;
    features.#reportedBucket = facts.baseBucket;
    features.#eventsBefore = facts.eventsBefore;
    features.#events = facts.eventsBefore;
    features.restoreProgress([facts.firstContentMs, facts.lastByteMs, facts.baseBucket, facts.counts]);
    features.#endMs = facts.endMs;
    features.#gaps = facts.gaps.map(([from, to]) => [from, to]);
    return features;
  }

  /** Counts from a bucket on; a loop, since Array.from walks an iterator. */
  #copyCounts(from: number): readonly number[] {
    const counts = this.#counts;
    if (counts === null) return NOTHING;
    const copy: number[] = [];
    for (let bucket = from; bucket < this.#length; bucket += 1) copy.push(counts[bucket] ?? 0);
    return copy;
  }

  #grow(bucket: number): Uint16Array {
    const size = Math.min(MAX_BUCKETS, Math.max(FIRST_BUCKETS, 2 ** Math.ceil(Math.log2(bucket + 1))));
    const grown = new Uint16Array(size);
    if (this.#counts !== null) grown.set(this.#counts.subarray(0, this.#length));
    this.#counts = grown;
    return grown;
  }
}
