// The latest answer on each open connection: what has ended here may still be on its way to a client that reads slowly.
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

/** How often it is looked whether clients have taken the rest of their answers. */
const STEP_MS = 20;

/** Knows no more of an answer than whether it began, ended and left. */
export class LatestAnswers {
  readonly #answers = new Map<Duplex, ServerResponse>();

  /** From now on this is the connection's latest answer, until the connection closes. */
  begin(socket: Duplex, answer: ServerResponse): void {
    if (!this.#answers.has(socket)) socket.once('close', () => this.#answers.delete(socket));
    this.#answers.set(socket, answer);
  }

  /** Undefined before a connection's first request. */
  find(socket: Duplex): ServerResponse | undefined {
    return this.#answers.get(socket);
  }

  /** Answers that have ended and of which this process still holds something. */
  get leaving(): number {
    return this.#count((answer) => answer.writableEnded);
  }

  /** Answers that have begun and of which this process still holds something, or that have not ended: some wait for their record. */
  get unfinished(): number {
    return this.#count((answer) => answer.headersSent);
  }

  /** Resolves when nothing is leaving, or after `timeoutMs`, whichever comes first. */
  whenLeft(timeoutMs: number): Promise<void> {
    return whenZero(() => this.leaving, timeoutMs);
  }

  /** The same for what is unfinished. */
  whenFinished(timeoutMs: number): Promise<void> {
    return whenZero(() => this.unfinished, timeoutMs);
  }

  #count(isMeant: (answer: ServerResponse) => boolean): number {
    let count = 0;
    for (const answer of this.#answers.values()) {
      if (isMeant(answer) && !answer.writableFinished && !answer.destroyed) count += 1;
    }
    return count;
  }
}

async function whenZero(count: () => number, timeoutMs: number): Promise<void> {
  for (let waitedMs = 0; count() > 0 && waitedMs < timeoutMs; waitedMs += STEP_MS) await delay(STEP_MS);
}
