// Lives here: the clock work that runs an engine core in real time without drift, and how late it was.
// Not here: what the engine does at an instant (engine-core.ts).
import type { EngineCore } from './engine-core.ts';

/**
 * Epoch milliseconds with a fraction, from the monotonic clock: a step of the system clock never moves an iteration.
 */
export function readEpochMs(): number {
  return performance.timeOrigin + performance.now();
}

/** How late ticks came after the end of the iteration they were set for, ms. */
export interface Lateness {
  readonly ticks: number;
  readonly meanMs: number;
  readonly maxMs: number;
}

/**
 * Steps an engine by absolute instants: an iteration's end never depends on when the timer fired, so a late tick
 * makes up for itself by running several iterations at once.
 */
export class RealTimeLoop {
  readonly #core: EngineCore;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #closed = false;
  #ticks = 0;
  #lateSumMs = 0;
  #lateMaxMs = 0;

  constructor(core: EngineCore) {
    this.#core = core;
  }

  get lateness(): Lateness {
    return {
      ticks: this.#ticks,
      meanMs: this.#ticks === 0 ? 0 : this.#lateSumMs / this.#ticks,
      maxMs: this.#lateMaxMs,
    };
  }

  /** Brings the engine to now and sets the timer for what comes next. Call it before reading or changing the engine, and after. */
  wake(): void {
    if (this.#closed) return;
    const dueMs = this.#core.step(readEpochMs());
    if (dueMs === undefined) {
      this.#stopTimer();
      return;
    }
    if (this.#timer !== undefined && this.#dueMs === dueMs) return;
    this.#stopTimer();
    this.#dueMs = dueMs;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        const lateMs = Math.max(0, readEpochMs() - dueMs);
        this.#ticks += 1;
        this.#lateSumMs += lateMs;
        this.#lateMaxMs = Math.max(this.#lateMaxMs, lateMs);
        this.wake();
      },
      Math.max(0, Math.ceil(dueMs - readEpochMs())),
    );
  }

  /** Stops for good; sequences in the engine stay as they are. */
  close(): void {
    this.#closed = true;
    this.#stopTimer();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
