// One timer for all time limits of the data plane: cheaper than a timer per request and limit, and exact to its period.
import type { Clock } from '#domain/clock.ts';
import { Seats, type Seated } from './seats.ts';

/** Something with a time limit; whether it is due may change with every byte. */
export interface Deadline extends Seated {
  /** `nowMs` is monotonic. Cheap: asked for each open request in every period. */
  isDue(nowMs: number): boolean;
  /** Called once, after the deadline was taken out of the sweep. Must not throw. */
  expire(nowMs: number): void;
}

const PERIOD_MS = 50;

/** Asks every open deadline again and again whether it is due; runs only while there are any, and never keeps the process alive. */
export class DeadlineSweep {
  readonly #open = new Seats<Deadline>();
  readonly #clock: Clock;
  #timer: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(deadline: Deadline): void {
    this.#open.add(deadline);
    this.#timer ??= setInterval(() => this.#sweep(), PERIOD_MS).unref();
  }

  /** Takes a deadline out; unknown ones are ignored. */
  delete(deadline: Deadline): void {
    this.#open.delete(deadline);
  }

  /** Stops for good; nothing expires any more. */
  close(): void {
    this.#open.clear();
    clearInterval(this.#timer);
  }

  #sweep(): void {
    if (this.#open.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    for (const deadline of this.#open) {
      if (!deadline.isDue(nowMs)) continue;
      this.#open.delete(deadline);
      deadline.expire(nowMs);
    }
  }
}
