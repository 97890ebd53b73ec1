// All attempts that are not settled: running, ended but not sealed, sealed but not charged. Not here: what happens to them (seal.ts, claim.ts).
import type { ChargeLine, Claim } from '#domain/settlement.ts';
import { addCharge, type TrackedAttempt } from './tracked-attempt.ts';

/** Price of a pool's GPU hour by `hourPool`; travels beside a claim, since its lines carry no price. */
export type ClaimPrices = ReadonlyMap<string, bigint>;

/** Key of ClaimPrices. */
export function hourPool(hour: number, pool: string): string {
  return `${hour}\n${pool}`;
}

/** Unsettled attempts kept in memory, about 2 kB each: an hour without a store at 70 requests/s. */
const LIMIT = 250_000;

/** Owns the tracked attempts by record id. */
export class AttemptRegistry {
  readonly #limit: number;
  readonly #attempts = new Map<string, TrackedAttempt>();
  /** Those with windows still to be sealed. */
  readonly #unsealed = new Map<string, TrackedAttempt>();

  /** Attempts that only the journal holds, since there were too many: their work is not published, their records come back at the next start. */
  parkedCount = 0;
  #parkedSegment = Number.POSITIVE_INFINITY;

  constructor(limit = LIMIT) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#attempts.size;
  }

  /** Enters an attempt; one that is entered already stays as it is, one beyond the limit is parked in the journal. */
  add(attempt: TrackedAttempt): void {
    if (this.#attempts.has(attempt.recordId)) return;
    if (this.#attempts.size >= this.#limit) {
      this.parkedCount += 1;
      this.#parkedSegment = Math.min(this.#parkedSegment, attempt.segment);
      return;
    }
    this.#attempts.set(attempt.recordId, attempt);
    if (attempt.features !== null) this.#unsealed.set(attempt.recordId, attempt);
  }

  get(recordId: string): TrackedAttempt | undefined {
    return this.#attempts.get(recordId);
  }

  /** Every attempt that is not settled. */
  all(): Iterable<TrackedAttempt> {
    return this.#attempts.values();
  }

  /** Attempts with windows still to be sealed, running ones among them. */
  unsealed(): Iterable<TrackedAttempt> {
    return this.#unsealed.values();
  }

  /** Every window of the attempt is sealed: its wire facts are no longer needed. */
  markSealed(attempt: TrackedAttempt): void {
    attempt.features = null;
    attempt.timeline = null;
    attempt.placed = null;
    this.#unsealed.delete(attempt.recordId);
  }

  /** The same, if the last window of a finished attempt lies at or before `window`. */
  markSealedThrough(attempt: TrackedAttempt, window: number): void {
    if (attempt.lastWindow !== null && attempt.lastWindow <= window) this.markSealed(attempt);
  }

  /** Takes the money of a claim that the store applied, and forgets the records that it settled. */
  applyClaim(claim: Claim, prices: ClaimPrices): void {
    // First what is settled goes: its money is in the record.
    for (const record of claim.records) this.#attempts.delete(record.recordId);
    for (const line of claim.lines) this.#charge(line, prices);
  }

  /** Oldest journal segment that an unsettled attempt still needs; Infinity without any. */
  oldestSegment(): number {
    let oldest = this.#parkedSegment;
    for (const attempt of this.#attempts.values()) oldest = Math.min(oldest, attempt.segment);
    return oldest;
  }

  /**
   * Takes the place of what is here after the store lost writes: `replayed` knows what is charged, this one what is still running. Attempts that
   * only this one knows (the journal could not be written) stay.
   */
  restoreFrom(replayed: AttemptRegistry): void {
    for (const [recordId, attempt] of replayed.#attempts) {
      const live = this.#attempts.get(recordId);
      // An end that the journal lost (more lines than memory holds while the disk was full) is known here alone.
      const knowsMore = live !== undefined && live.record !== null && attempt.record === null;
      if (live === undefined || (live.features === null && !knowsMore)) {
        this.#attempts.set(recordId, attempt);
        if (attempt.features !== null) this.#unsealed.set(recordId, attempt);
        continue;
      }
      live.charges = attempt.charges;
      live.late = attempt.late;
    }
  }

  #charge(line: ChargeLine, prices: ClaimPrices): void {
    const attempt = this.#attempts.get(line.recordId);
    if (attempt === undefined) return;
    const { hour, phase, deployment = null } = line;
    const pool = deployment === null ? attempt.start?.pool : attempt.start?.prefillBy?.pool;
    addCharge(
      (attempt.charges ??= []),
      { hour, deployment },
      {
        phase,
        nanoUsd: BigInt(line.costNanoUsd),
        gpuMicros: BigInt(line.gpuMicros),
        nanoUsdPerGpuHour: prices.get(hourPool(hour, pool ?? '')) ?? 0n,
      },
    );
  }
}
