// Slices of sealed windows: how they stand in the journal beside the message that published them, and a bounded memory of the latest.
// Not here: making them (seal.ts), pricing them (claim.ts).
import type { SliceFeatures } from '#attribution/work-model.ts';

/** What one attempt did in one sealed window of one pool. Never altered. */
export interface SealedSlice {
  readonly recordId: string;
  readonly pool: string;
  readonly deployment: string;
  readonly window: number;
  readonly features: Readonly<SliceFeatures>;
}

/** One slice in a journal line; bucket arrays of zeros are written as 0. */
export type SliceLine = readonly [
  recordId: string,
  pool: string,
  deployment: string,
  window: number,
  sums: readonly [p: number, q: number, d: number, k: number, flightMs: number],
  s: readonly number[] | 0,
  u: readonly number[] | 0,
  prefillSteps: readonly number[] | 0,
];

/** Shortens a slice for the journal. */
export function toSliceLine(slice: SealedSlice): SliceLine {
  const { p, q, d, k, flightMs, s, u, prefillSteps } = slice.features;
  return [
    slice.recordId,
    slice.pool,
    slice.deployment,
    slice.window,
    [p, q, d, k, flightMs],
    shorten(s),
    shorten(u),
    shorten(prefillSteps),
  ];
}

/** The slice of a journal line. */
export function fromSliceLine(line: SliceLine): SealedSlice {
  const [recordId, pool, deployment, window, [p, q, d, k, flightMs], s, u, prefillSteps] = line;
  const features = { p, q, d, k, flightMs, s: expand(s), u: expand(u), prefillSteps: expand(prefillSteps) };
  return { recordId, pool, deployment, window, features };
}

function shorten(values: readonly number[]): readonly number[] | 0 {
  return values.some((value) => value !== 0) ? values : 0;
}

function expand(values: readonly number[] | 0): number[] {
  return values === 0 ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : [...values];
}

/** Windows and slices sealed by one message. */
interface SealedBatch {
  readonly seq: number;
  readonly fromWindow: number;
  readonly toWindow: number;
  /** Null when only the journal holds them. */
  slices: readonly SealedSlice[] | null;
  readonly count: number;
  /** Slices by window. */
  readonly counts: ReadonlyMap<number, number>;
  readonly evictable: boolean;
}

/** Looks slices up by window; the latest are in memory, older ones are read again from the journal's message lines. */
export class SealedSlices {
  #batches: SealedBatch[] = [];
  readonly #limit: number;
  readonly #reload: (seq: number) => readonly SealedSlice[];
  #held = 0;
  /** What was read again last: the claims of a backlog take its windows one after the other. */
  #reloaded: { readonly batch: SealedBatch; readonly slices: readonly SealedSlice[] } | null = null;
  /** Slices by window, in memory or not. */
  readonly #counts = new Map<number, number>();

  /** `reload` reads the slices of message `seq` from the journal; at most `limit` slices are kept in memory where it can. */
  constructor(limit: number, reload: (seq: number) => readonly SealedSlice[]) {
    this.#limit = limit;
    this.#reload = reload;
  }

  /**
   * Enters what a message sealed: windows (fromWindow … toWindow), ascending over calls; a message that is entered already stays as it is.
   * `evictable` false: the journal did not hold it when it was made.
   */
  add(batch: {
    readonly seq: number;
    readonly fromWindow: number;
    readonly toWindow: number;
    readonly slices: readonly SealedSlice[];
    readonly evictable: boolean;
  }): void {
    if (batch.slices.length === 0 || this.#batches.some(({ seq, evictable }) => !evictable && seq === batch.seq))
      return;
    const counts = new Map<number, number>();
    for (const { window } of batch.slices) counts.set(window, (counts.get(window) ?? 0) + 1);
    for (const [window, count] of counts) this.#counts.set(window, this.count(window) + count);
    this.#batches.push({ ...batch, count: batch.slices.length, counts });
    this.#held += batch.slices.length;
    for (const old of this.#batches) {
      if (this.#held <= this.#limit) break;
      if (old.slices === null || !old.evictable) continue;
      old.slices = null;
      this.#held -= old.count;
    }
  }

  /** Slices of a window, without reading them. */
  count(window: number): number {
    return this.#counts.get(window) ?? 0;
  }

  /** All slices of windows [from … to], in the order they were sealed. */
  read(from: number, to: number): SealedSlice[] {
    const found: SealedSlice[] = [];
    for (const batch of this.#batches) {
      if (batch.toWindow < from || batch.fromWindow > to) continue;
      for (const slice of batch.slices ?? this.#readAgain(batch))
        if (slice.window >= from && slice.window <= to) found.push(slice);
    }
    return found;
  }

  /** Forgets everything sealed by messages whose windows all lie at or before `window`: they are claimed. */
  dropThrough(window: number): void {
    this.#keep((batch) => batch.toWindow > window);
  }

  /** Forgets what the journal holds, before it is restored from there. */
  clear(): void {
    this.#keep((batch) => !batch.evictable);
  }

  #keep(keeps: (batch: SealedBatch) => boolean): void {
    const kept: SealedBatch[] = [];
    for (const batch of this.#batches) {
      if (keeps(batch)) kept.push(batch);
      else this.#forget(batch);
    }
    this.#batches = kept;
    this.#held = this.#batches.reduce((sum, batch) => sum + (batch.slices === null ? 0 : batch.count), 0);
  }

  #readAgain(batch: SealedBatch): readonly SealedSlice[] {
    if (this.#reloaded?.batch !== batch) this.#reloaded = { batch, slices: this.#reload(batch.seq) };
    return this.#reloaded.slices;
  }

  #forget(batch: SealedBatch): void {
    if (this.#reloaded?.batch === batch) this.#reloaded = null;
    for (const [window, count] of batch.counts) {
      const left = this.count(window) - count;
      if (left > 0) this.#counts.set(window, left);
      else this.#counts.delete(window);
    }
  }
}
