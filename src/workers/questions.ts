// Questions to another process with a time limit, and their answers by number. Not here: what is asked (worker-messages.ts).
import type { Answer, Ask, QuestionKind, Questions } from './worker-messages.ts';

/** Questions under way at most; a process that answers none must not fill the other's memory. */
const OPEN_MAX = 1000;

interface Open {
  readonly resolve: (value: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** One side of a channel. */
export class QuestionDesk {
  readonly #send: (ask: Ask) => void;
  readonly #open = new Map<number, Open>();
  #lastId = 0;

  constructor(send: (ask: Ask) => void) {
    this.#send = send;
  }

  /** Resolves with the answer, or with null when none comes within `limitMs` or the other process is gone. Never rejects. */
  ask<Kind extends QuestionKind>(
    kind: Kind,
    asked: Questions[Kind]['asked'],
    limitMs: number,
  ): Promise<Questions[Kind]['answer'] | null> {
    if (this.#open.size >= OPEN_MAX) return Promise.resolve(null);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.take({ t: 'answer', id, value: null }), limitMs);
      // What comes back under this number was made for this question.
      this.#open.set(id, { resolve: resolve as (value: unknown) => void, timer });
      this.#send({ t: 'ask', id, kind, asked });
    });
  }

  /** Gives an answer to whoever waits for it; one that comes too late is dropped. */
  take({ id, value }: Answer): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    clearTimeout(open.timer);
    open.resolve(value);
  }

  /** Nobody will answer any more. */
  close(): void {
    for (const id of this.#open.keys()) this.take({ t: 'answer', id, value: null });
  }
}
