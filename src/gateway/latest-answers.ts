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
    let leaving = 0;
    for (const answer of this.#answers.values()) {
      if (answer.writableEnded && !answer.writableFinished && !answer.destroyed) leaving += 1;
    }
    return leaving;
  }

  /** Resolves when nothing is leaving, or after `timeoutMs`, whichever comes first. */
  async whenLeft(timeoutMs: number): Promise<void> {
    for (let waitedMs = 0; this.leaving > 0 && waitedMs < timeoutMs; waitedMs += STEP_MS) await delay(STEP_MS);
  }
}
