// How many retries a deployment may add to its load: a fifth of the requests it had lately. Whether one makes sense is relay's. A request that
// reached no engine adds none when it goes to another one, and is not counted here.

const SLOT_MS = 1000;
const SLOTS = 10;
const RETRIES_PER_REQUEST = 0.2;
/** Small deployments may retry too: one a second, enough until engines that fail three times in a row are ejected. */
const RETRIES_MIN = 10;

/** Counts over ten slots of one second; all instants are monotonic ms. Cheap: one array access per request. */
export class RetryBudget {
  readonly #requests = new Uint32Array(SLOTS);
  readonly #retries = new Uint32Array(SLOTS);
  #slot = Number.NEGATIVE_INFINITY;

  /** A request's first attempt begins. */
  countRequest(nowMs: number): void {
    const index = this.#advance(nowMs);
    this.#requests[index] = (this.#requests[index] ?? 0) + 1;
  }

  /**
   * Takes one retry; false where the budget of the last 10 s is spent: a fifth of the requests that began in them or of those in flight,
   * whichever are more (answers may take minutes), at least 10.
   */
  tryRetry(nowMs: number, inFlight: number): boolean {
    const index = this.#advance(nowMs);
    const requests = Math.max(sum(this.#requests), inFlight);
    const allowed = Math.max(RETRIES_MIN, Math.floor(requests * RETRIES_PER_REQUEST));
    if (sum(this.#retries) >= allowed) return false;
    this.#retries[index] = (this.#retries[index] ?? 0) + 1;
    return true;
  }

  /** Empties the slots that time has passed over; the index of the present one. */
  #advance(nowMs: number): number {
    const slot = Math.floor(nowMs / SLOT_MS);
    const passed = Math.min(SLOTS, slot - this.#slot);
    for (let back = 0; back < passed; back += 1) {
      const index = (((slot - back) % SLOTS) + SLOTS) % SLOTS;
      this.#requests[index] = 0;
      this.#retries[index] = 0;
    }
    if (passed > 0) this.#slot = slot;
    return ((this.#slot % SLOTS) + SLOTS) % SLOTS;
  }
}

function sum(slots: Uint32Array): number {
  let total = 0;
  for (const count of slots) total += count;
  return total;
}
