// What one turn of the event loop writes to sockets leaves together at its end, after the journal lines that it depends on were written, those of all
// requests at once. Each send of its own wakes who reads it: at saturation half of what sending costs (`npm run bench`, one machine).
// Not here: small parts in one piece (joined-writes.ts), the journal (accounting).
import type { Socket } from 'node:net';
import { joinParts, type Parts } from './joined-writes.ts';

/** So many sends do not wait for the end of the turn, which may be far away where many sockets have something to say. */
const HELD_MAX = 16;
/** After this nothing is put off any more: longer than a turn that is full of requests. */
const HELD_MS_MAX = 10;

type Done = Parameters<Socket['_write']>[2];

/** Holds the sends of one gateway's sockets back. */
export class TurnSends {
  readonly #commit: () => void;
  #held: SocketSends[] = [];
  #isFlushing = false;
  #heldSinceMs = 0;
  #atTurnEnd: NodeJS.Immediate | null = null;

  /** `commit` writes what the bytes depend on, right before any of them leave. Must not throw. */
  constructor(commit: () => void) {
    this.#commit = commit;
  }

  /** From now on what is written to this socket waits for the end of its turn. Call once, when it is connected. */
  attach(socket: Socket): void {
    const held: HeldSocket = socket;
    held[SENDS] = new SocketSends(held, this);
    // Of all sockets the same functions: there may be thousands of them.
    held._write = holdWrite;
    held._writev = holdWrites;
    held.destroy = sendThenDestroy;
  }

  /** Keeps what the socket was given until the turn ends. */
  hold(sends: SocketSends): void {
    // What a send of this flush set off, such as the next of several writes to its socket.
    if (this.#isFlushing) {
      this.sendNow(sends);
      return;
    }
    if (this.#held.push(sends) === 1) this.#heldSinceMs = performance.now();
    // Not from here: what a send sets off must not run in the middle of another request's work.
    if (this.#held.length === HELD_MAX) process.nextTick(this.flush);
    else this.#atTurnEnd ??= setImmediate(this.#endTurn);
  }

  /** Sends what one socket was given, before the others' turn. */
  sendNow(sends: SocketSends): void {
    this.#commit();
    sends.send();
  }

  /**
   * Something that was put off to the check phase of this turn is going to be sent (undici looks at an idle connection once more before it uses it):
   * what is held leaves after it.
   */
  waitForChecks(): void {
    if (this.#atTurnEnd !== null) {
      // Where one check phase after another has something to send, what is held does not wait for all of them.
      if (this.#held.length > 0 && performance.now() - this.#heldSinceMs > HELD_MS_MAX) return;
      clearImmediate(this.#atTurnEnd);
    }
    this.#atTurnEnd = setImmediate(this.#endTurn);
  }

  /** Sends what is held now. */
  readonly flush = (): void => {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = [];
    this.#commit();
    this.#isFlushing = true;
    try {
      for (const sends of held) if (sends.isHeld) sends.send();
    } finally {
      this.#isFlushing = false;
    }
  };

  readonly #endTurn = (): void => {
    this.#atTurnEnd = null;
    this.flush();
  };
}

const SENDS = Symbol('sends');
type HeldSocket = Socket & { [SENDS]?: SocketSends };

function holdWrite(this: HeldSocket, chunk: Buffer | string, encoding: BufferEncoding, done: Done): void {
  this[SENDS]?.hold(chunk, encoding, done);
}

function holdWrites(this: HeldSocket, parts: Parts, done: Done): void {
  this[SENDS]?.holdParts(parts, done);
}

/** What it was given leaves first, as if it had left at once. */
function sendThenDestroy(this: HeldSocket, error?: Error): HeldSocket {
  this[SENDS]?.leave();
  this[SENDS]?.destroy(error);
  return this;
}

/** What one socket was given to send: a stream hands over one write at a time. */
class SocketSends {
  readonly #socket: Socket;
  readonly #turn: TurnSends;
  readonly #write: Socket['_write'];
  readonly #writev: NonNullable<Socket['_writev']>;
  readonly #destroy: Socket['destroy'];
  #chunk: Buffer | string | null = null;
  #encoding: BufferEncoding = 'latin1';
  #parts: Parts | null = null;
  #done: Done | null = null;

  constructor(socket: Socket, turn: TurnSends) {
    this.#socket = socket;
    this.#turn = turn;
    this.#write = socket._write;
    // Every socket of node has it; the types leave it open.
    this.#writev = socket._writev as NonNullable<Socket['_writev']>;
    this.#destroy = socket.destroy;
  }

  get isHeld(): boolean {
    return this.#done !== null;
  }

  hold(chunk: Buffer | string, encoding: BufferEncoding, done: Done): void {
    this.#chunk = chunk;
    this.#encoding = encoding;
    this.#done = done;
    this.#turn.hold(this);
  }

  holdParts(parts: Parts, done: Done): void {
    this.#parts = parts;
    this.#done = done;
    this.#turn.hold(this);
  }

  /** Sends now what is held and what the socket keeps behind it, which comes as soon as the system has taken that. */
  leave(): void {
    while (this.isHeld) this.#turn.sendNow(this);
  }

  destroy(error?: Error): void {
    this.#destroy.call(this.#socket, error);
  }

  send(): void {
    const [chunk, parts, done] = [this.#chunk, this.#parts, this.#done];
    if (done === null) return;
    this.#chunk = this.#parts = this.#done = null;
    if (parts === null) {
      this.#write.call(this.#socket, chunk, this.#encoding, done);
      return;
    }
    const joined = joinParts(parts);
    if (joined === null) this.#writev.call(this.#socket, parts, done);
    else this.#write.call(this.#socket, joined, 'buffer' as BufferEncoding, done);
  }
}
