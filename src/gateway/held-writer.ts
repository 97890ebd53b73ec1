// Holds a small answer back until it is whole, so that its headers, or a body that is an error, can still be changed.
import type { OutgoingHttpHeaders } from 'node:http';
import type { ClientWriter } from './client-writer.ts';
import { Pieces } from './pieces.ts';

/** A whole answer before it leaves; its headers are nobody else's. */
export interface HeldAnswer {
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
}

/** Called once with the whole answer; returns it as it shall leave. */
export type ReviseAnswer = (answer: HeldAnswer) => HeldAnswer;

/**
 * A writer in front of another: what is written is kept up to `maxBytes`. A longer answer, and one that breaks off, leaves as if
 * nothing had been held.
 */
export class HeldWriter implements ClientWriter {
  status: number | null = null;
  readonly #writer: ClientWriter;
  readonly #maxBytes: number;
  readonly #revise: ReviseAnswer;
  #begun: Parameters<ClientWriter['begin']>[1] | undefined;
  readonly #pieces = new Pieces();
  #after: Promise<void> | undefined;
  #trailers: OutgoingHttpHeaders | undefined;
  #isHolding = true;

  constructor(writer: ClientWriter, options: { readonly maxBytes: number; readonly revise: ReviseAnswer }) {
    this.#writer = writer;
    this.#maxBytes = options.maxBytes;
    this.#revise = options.revise;
  }

  get isPaused(): boolean {
    return !this.#isHolding && this.#writer.isPaused;
  }

  /** Everything so far as text; null where it was too long to be held. */
  read(): string | null {
    return this.#isHolding ? this.#pieces.join().toString('utf8') : null;
  }

  trail(fields: OutgoingHttpHeaders): void {
    if (this.#isHolding) this.#trailers = fields;
    else this.#writer.trail(fields);
  }

  begin(status: number, options: Parameters<ClientWriter['begin']>[1]): void {
    this.status = status;
    this.#begun = options;
  }

  write(bytes: Buffer, after?: Promise<void>): void {
    if (!this.#isHolding) {
      this.#writer.write(bytes, after);
      return;
    }
    this.#pieces.add(bytes);
    this.#after ??= after;
    if (this.#pieces.length > this.#maxBytes) this.#release();
  }

  end(bytes: Buffer | null, after?: Promise<void>): void {
    if (!this.#isHolding) {
      this.#writer.end(bytes, after);
      return;
    }
    if (bytes !== null) this.#pieces.add(bytes);
    const { status } = this;
    const begun = this.#begun;
    if (status === null || begun === undefined) return;
    this.#isHolding = false;
    const { headers, body } = this.#revise({ headers: begun.headers, body: this.#pieces.join() });
    this.#pieces.clear();
    this.#writer.begin(status, { headers, statusText: begun.statusText, flushes: false });
    if (this.#trailers !== undefined) this.#writer.trail(this.#trailers);
    this.#writer.end(body, after ?? this.#after);
  }

  abort(lastWords: Buffer | null): void {
    if (!this.#isHolding) {
      this.#writer.abort(lastWords);
      return;
    }
    // Bytes written in the turn in which a socket is destroyed are lost: what was held goes as the last words.
    if (lastWords !== null) this.#pieces.add(lastWords);
    const held = this.#pieces.join();
    this.#pieces.clear();
    this.#release();
    this.#writer.abort(held.length === 0 ? null : held);
  }

  /** Everything so far leaves unchanged, and so does what follows. */
  #release(): void {
    this.#isHolding = false;
    const { status } = this;
    const begun = this.#begun;
    if (status === null || begun === undefined) return;
    this.#writer.begin(status, begun);
    for (const piece of this.#pieces.list()) this.#writer.write(piece, this.#after);
    this.#pieces.clear();
  }
}
