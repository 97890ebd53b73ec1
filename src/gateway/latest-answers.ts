// The latest answer on each open connection: what has ended here may still be on its way to a client that reads slowly.
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

/** How often it is looked whether clients have taken the rest of their answers. */
const STEP_MS = 20;
/** A client that has taken nothing for so long is not waited for: connections may be left behind by clients that will never read again. */
const STALLED_MS = 30_000;

type IsMeant = (answer: ServerResponse) => boolean;

/** Knows no more of an answer than whether it began, ended and left. */
export class LatestAnswers {
  readonly #answers = new Map<Duplex, ServerResponse>();
  readonly #stalledMs: number;

  /** `stalledMs`: how long one is waited for of which nothing leaves; default 30 000. */
  constructor(stalledMs: number = STALLED_MS) {
    this.#stalledMs = stalledMs;
  }

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
    return this.#look(hasEnded).count;
  }

  /** Answers that have begun and of which this process still holds something, or that have not ended: some wait for their record. */
  get unfinished(): number {
    return this.#look(hasBegun).count;
  }

  /** Resolves when nothing is leaving, or nothing more leaves, or after `timeoutMs`, whichever comes first. */
  whenLeft(timeoutMs: number): Promise<void> {
    return this.#whenNone(hasEnded, timeoutMs);
  }

  /** The same for what is unfinished. */
  whenFinished(timeoutMs: number): Promise<void> {
    return this.#whenNone(hasBegun, timeoutMs);
  }

  async #whenNone(isMeant: IsMeant, timeoutMs: number): Promise<void> {
    let before = this.#look(isMeant);
    let stillMs = 0;
    for (let waitedMs = 0; before.count > 0 && waitedMs < timeoutMs && stillMs < this.#stalledMs; waitedMs += STEP_MS) {
      await delay(STEP_MS);
      const now = this.#look(isMeant);
      stillMs = now.count === before.count && now.heldBytes === before.heldBytes ? stillMs + STEP_MS : 0;
      before = now;
    }
  }

  #look(isMeant: IsMeant): { readonly count: number; readonly heldBytes: number } {
    let count = 0;
    let heldBytes = 0;
    for (const [socket, answer] of this.#answers) {
      if (!isMeant(answer) || answer.writableFinished || answer.destroyed || socket.destroyed) continue;
      count += 1;
      heldBytes += socket.writableLength;
    }
    return { count, heldBytes };
  }
}

function hasEnded(answer: ServerResponse): boolean {
  return answer.writableEnded;
}

function hasBegun(answer: ServerResponse): boolean {
  return answer.headersSent;
}
