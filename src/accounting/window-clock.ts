// The store's clock as this process knows it: monotonic time plus a slewed offset. Not here: asking the store for its time (sync-loop.ts).
import type { Clock } from '#domain/clock.ts';

/** The raw times of the machine; tests and the simulator pass virtual ones. */
export interface ClockSource {
  /** Milliseconds of a monotonic clock. */
  monotonicMs(): number;
  /** Epoch milliseconds of this machine, which may step. */
  epochMs(): number;
}

/** The machine's own clocks. */
export const machineClock: ClockSource = {
  monotonicMs: () => performance.now(),
  epochMs: () => Date.now(),
};

export interface WindowClock extends Clock {
  /**
   * Takes the store's time (epoch ms) from a reply; `sentAtMs` and `receivedAtMs` are monotonic. The first call may jump: anywhere while
   * `toEpochMs` was not asked, since no work has its place in time yet, else never behind what was already handed out. Later ones slew by at most 1 ms per 20 ms. Differences below half the round trip are noise and ignored.
   */
  adjust(storeNowMs: number, sentAtMs: number, receivedAtMs: number): void;
  /** The store's time by the last reply, epoch ms, without slewing: what the store would accept now. May step. */
  storeEpochMs(): number;
}

/** 1 ms of correction per 20 ms that pass. */
const SLEW_RATE = 1 / 20;

/** Creates the clock; until the first `adjust` it is the machine's. */
export function createWindowClock(source: ClockSource): WindowClock {
  return new SlewedClock(source);
}

class SlewedClock implements WindowClock {
  readonly #source: ClockSource;
  #offsetMs: number;
  #targetMs: number;
  #slewedAtMs: number;
  #adjusted = false;
  #hasPlaced = false;
  #lastEpochMs = Number.NEGATIVE_INFINITY;

  constructor(source: ClockSource) {
    this.#source = source;
    this.#slewedAtMs = source.monotonicMs();
    this.#offsetMs = source.epochMs() - this.#slewedAtMs;
    this.#targetMs = this.#offsetMs;
  }

  monotonicMs(): number {
    return this.#source.monotonicMs();
  }

  epochMs(): number {
    const nowMs = this.#source.monotonicMs();
    this.#slew(nowMs);
    this.#lastEpochMs = Math.max(this.#lastEpochMs, nowMs + this.#offsetMs);
    return this.#lastEpochMs;
  }

  toEpochMs(monotonicMs: number): number {
    this.#hasPlaced = true;
    return monotonicMs + this.#offsetMs;
  }

  storeEpochMs(): number {
    return this.#source.monotonicMs() + this.#targetMs;
  }

  adjust(storeNowMs: number, sentAtMs: number, receivedAtMs: number): void {
    const noiseMs = Math.max(0, receivedAtMs - sentAtMs) / 2;
    const measuredMs = storeNowMs + noiseMs - receivedAtMs;
    this.#slew(receivedAtMs);
    if (Math.abs(measuredMs - this.#targetMs) > noiseMs) this.#targetMs = measuredMs;
    if (this.#adjusted) return;
    this.#adjusted = true;
    if (!this.#hasPlaced) this.#lastEpochMs = Number.NEGATIVE_INFINITY;
    this.#offsetMs = Math.max(this.#targetMs, this.#lastEpochMs - this.#source.monotonicMs());
  }

  #slew(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - this.#slewedAtMs);
    this.#slewedAtMs = Math.max(this.#slewedAtMs, nowMs);
    const limitMs = passedMs * SLEW_RATE;
    this.#offsetMs += Math.max(-limitMs, Math.min(limitMs, this.#targetMs - this.#offsetMs));
  }
}
