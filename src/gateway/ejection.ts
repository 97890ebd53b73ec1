// Whether real requests say that one engine is sick: ejected after failures in a row, tried again by one request at a time.
// What counts as a failure is upstream.ts's and relay's; active checks are health-checks.ts's.

/** First time without requests, its growth and its bound. */
const BASE_MS = 1000;
const FACTOR = 2;
const MAX_MS = 60_000;
/** Part of the time by which it is lengthened at random, so that many gateways do not try at once. */
const JITTER = 0.25;

/** `serving`: nothing known against it. `ejected`: gets no requests. `trial`: one request may try it. `trying`: one does. */
export type EjectionState = 'serving' | 'ejected' | 'trial' | 'trying';

/**
 * The passive verdict on one engine: a circuit breaker over consecutive failures. All instants are monotonic ms and given by the caller.
 * The n-th ejection in a row lasts 1 s × 2^(n-1), at most 60 s, plus up to a quarter by chance; an engine that then served for
 * as long as the longest ejection starts from 1 s again.
 */
export class Ejection {
  readonly #random: () => number;
  #failures = 0;
  #level = 0;
  #ejectedUntilMs: number | null = null;
  #servingSinceMs = Number.NEGATIVE_INFINITY;
  #isTrying = false;

  /** `random` gives numbers in [0, 1). */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  state(nowMs: number): EjectionState {
    if (this.#ejectedUntilMs === null) return 'serving';
    if (nowMs < this.#ejectedUntilMs) return 'ejected';
    return this.#isTrying ? 'trying' : 'trial';
  }

  /** Takes the one trial; the returned function gives it back without a verdict, and does nothing after one. */
  beginTrial(): () => void {
    this.#isTrying = true;
    const until = this.#ejectedUntilMs;
    return () => {
      if (this.#ejectedUntilMs === until) this.#isTrying = false;
    };
  }

  /** A request was answered. True where that ends an ejection. */
  succeeded(nowMs: number): boolean {
    this.#failures = 0;
    if (this.#ejectedUntilMs === null) return false;
    this.#ejectedUntilMs = null;
    this.#isTrying = false;
    this.#servingSinceMs = nowMs;
    return true;
  }

  /**
   * A request failed. Returns the milliseconds without requests where that ejects the engine: with `limit` failures in a row, or with
   * one where it was on trial. Failures of requests sent before an ejection do not lengthen it: null.
   */
  failed(nowMs: number, limit: number): number | null {
    this.#failures += 1;
    if (this.#ejectedUntilMs === null ? this.#failures < limit : nowMs < this.#ejectedUntilMs) return null;
    const hasRecovered = this.#ejectedUntilMs === null && nowMs - this.#servingSinceMs > MAX_MS;
    this.#level = hasRecovered ? 0 : this.#level + 1;
    const lastsMs = Math.min(BASE_MS * FACTOR ** this.#level, MAX_MS) * (1 + JITTER * this.#random());
    this.#ejectedUntilMs = nowMs + lastsMs;
    this.#isTrying = false;
    return lastsMs;
  }
}
