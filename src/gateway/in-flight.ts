// The requests a gateway has not finished yet, so that draining can wait for them and closing can cut them.
import { Seats, type Seated } from './seats.ts';

/** Something that can be cut short by our own death. */
export interface Interruptible {
  interrupt(): void;
}

/** The same with a place among the requests in flight. */
export interface OpenRequest extends Interruptible, Seated {}

/** Counts requests in flight; knows nothing else of them. */
export class InFlight {
  readonly #open = new Seats<OpenRequest>();
  #waiters: (() => void)[] = [];

  get count(): number {
    return this.#open.size;
  }

  add(request: OpenRequest): void {
    this.#open.add(request);
  }

  delete(request: OpenRequest): void {
    this.#open.delete(request);
    if (this.#open.size > 0) return;
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** Resolves when nothing is in flight, or after `timeoutMs`, whichever comes first. */
  whenEmpty(timeoutMs: number): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Cuts everything that is left. */
  interruptAll(): void {
    for (const request of this.#open) request.interrupt();
  }
}
