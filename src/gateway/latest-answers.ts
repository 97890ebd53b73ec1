// The latest answer on each open connection: what has ended here may still be on its way to a client that reads slowly.
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

/** How often it is looked whether clients have taken the rest of their answers. */
const STEP_MS = 20;
/** A client that has taken nothing for so long is not waited for: connections may be left behind by clients that will never read again. */
const STALLED_MS = 30_000;

type IsMeant = (answer: ServerResponse) => boolean;

/**
 * Knows no more of an answer than whether it began, ended and left. One that has ended and of which its client takes nothing loses its connection:
 * node bounds a connection whose answer has left, and a running answer has the limits of its request, but nothing else bounds what is between.
 */
export class LatestAnswers {
  readonly #answers = new Map<Duplex, ServerResponse>();
  readonly #stalledMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** `stalledMs`: how long one is waited for of which nothing leaves, and at most a third of what its connection is kept for; default 30 000. */
  constructor(stalledMs: number = STALLED_MS) {
    this.#stalledMs = stalledMs;
  }

  /** From now on this is the connection's latest answer, until the connection closes. */
  begin(socket: Duplex, answer: ServerResponse): void {
    if (!this.#answers.has(socket)) socket.once('close', () => this.#answers.delete(socket));
    this.#answers.set(socket, answer);
    this.#timer ??= setInterval(() => this.#sweep(), this.#stalledMs).unref();
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

  /** One timer for all connections, which stands still without any: an answer that leaves in time, as nearly all do, costs nothing. */
  #sweep(): void {
    if (this.#answers.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    for (const answer of this.#answers.values())
      if (hasStopped(answer) && !answer.writableFinished) this.#bound(answer);
  }

  /** Node knows best whether anything leaves, of a long write too, and destroys the socket once nothing does. */
  #bound(answer: ServerResponse): void {
    const { socket } = answer.req;
    if (socket.destroyed || (socket.timeout ?? 0) > 0) return;
    socket.setTimeout(this.#stalledMs);
    // Before node's own listener, which gives the connection the time to be idle. What comes behind it has limits of its own.
    answer.prependOnceListener('finish', () => socket.setTimeout(0));
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

/** Cut ones wait behind another that is not taken: only with their turn can they take the connection with them. */
function hasStopped(answer: ServerResponse): boolean {
  return answer.writableEnded || answer.destroyed;
}

function hasEnded(answer: ServerResponse): boolean {
  return answer.writableEnded;
}

function hasBegun(answer: ServerResponse): boolean {
  return answer.headersSent;
}
