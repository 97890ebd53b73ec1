// Writes an answer to the client with backpressure, and holds its last bytes until their record is safe.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { FRAMED_BYTES_MAX, keepChunksApart, writeFramed } from './chunk-frame.ts';
import { JOINED_BYTES_MAX } from './joined-writes.ts';

/** How the source is slowed down. */
export interface Source {
  pause(): void;
  resume(): void;
}

/** How long a client may take to read the error event of a broken stream before its socket goes anyway. */
const LAST_WORDS_MS = 5_000;

/** A reason phrase that node sends; others are left out, since they say nothing that the status does not. */
const SENDABLE = /^[\x20-\x7e]+$/;

/** One answer on its way out. */
export interface ClientWriter {
  /** Status sent or about to be sent; null before `begin`. */
  readonly status: number | null;
  /** The source waits for the client or for a record. */
  readonly isPaused: boolean;
  /** Hands over the headers. They leave with the first bytes, or, with `flushes`, right after the present turn without them. */
  begin(
    status: number,
    options: {
      readonly headers: OutgoingHttpHeaders;
      readonly statusText: string | undefined;
      readonly flushes: boolean;
    },
  ): void;
  /** Passes bytes on; with `after` they, and all that follow, wait for it. */
  write(bytes: Buffer, after?: Promise<void>): void;
  /** Fields that follow the last bytes; a client that reads no chunks does not get them. Before `end`. */
  trail(fields: OutgoingHttpHeaders): void;
  /** Passes the last bytes on and ends the answer cleanly. */
  end(bytes: Buffer | null, after?: Promise<void>): void;
  /** Breaks the answer off: the last words if any, then the socket is destroyed, never ended cleanly. */
  abort(lastWords: Buffer | null): void;
}

/** Creates the writer of one answer; the source is paused while the client or a record is waited for. */
export function createClientWriter(res: ServerResponse, source: Source): ClientWriter {
  return new ResponseWriter(res, source);
}

class ResponseWriter implements ClientWriter {
  status: number | null = null;
  readonly #res: ServerResponse;
  readonly #source: Source;
  #isDraining = false;
  /** Handed to node, before any bytes or with the first ones. */
  #areHeadersOut = false;
  #waiting: Promise<void> | undefined;

  constructor(res: ServerResponse, source: Source) {
    this.#res = res;
    this.#source = source;
  }

  get isPaused(): boolean {
    return this.#isDraining || this.#waiting !== undefined;
  }

  begin(status: number, options: Parameters<ClientWriter['begin']>[1]): void {
    this.status = status;
    const res = this.#res;
    if (res.destroyed) return;
    const { statusText } = options;
    if (statusText !== undefined && SENDABLE.test(statusText)) res.writeHead(status, statusText, options.headers);
    else res.writeHead(status, options.headers);
    if (options.flushes) process.nextTick(() => this.#flushHeaders());
  }

  write(bytes: Buffer, after?: Promise<void>): void {
    if (after === undefined && this.#waiting === undefined) this.#writeNow(bytes);
    else this.#order(after, () => this.#writeNow(bytes));
  }

  trail(fields: OutgoingHttpHeaders): void {
    if (this.#res.destroyed || !this.#res.headersSent) return;
    this.#res.addTrailers(fields);
  }

  end(bytes: Buffer | null, after?: Promise<void>): void {
    this.#order(after, () => {
      if (this.#res.destroyed) return;
      if (bytes === null) this.#res.end();
      // Text of one byte each goes out in one piece with the headers; bytes would leave as a list of two.
      else if (!this.#areHeadersOut && bytes.length <= JOINED_BYTES_MAX)
        this.#res.end(bytes.toString('latin1'), 'latin1');
      else this.#res.end(bytes);
    });
  }

  abort(lastWords: Buffer | null): void {
    this.#order(undefined, () => {
      const res = this.#res;
      if (res.destroyed) return;
      if (lastWords === null) {
        res.destroy();
        return;
      }
      const timer = setTimeout(() => res.destroy(), LAST_WORDS_MS).unref();
      res.write(lastWords, () => {
        clearTimeout(timer);
        res.destroy();
      });
    });
  }

  #writeNow(bytes: Buffer): void {
    const res = this.#res;
    if (res.destroyed || bytes.length === 0) return;
    const isSmall = bytes.length <= FRAMED_BYTES_MAX;
    const framed = isSmall && this.#areHeadersOut ? writeFramed(res, bytes) : null;
    if (!isSmall && this.#areHeadersOut) keepChunksApart(res);
    this.#areHeadersOut = true;
    const hasRoom = framed ?? res.write(bytes);
    if (!hasRoom && !this.#isDraining) this.#waitForRoom((framed === null ? null : res.socket) ?? res);
  }

  #waitForRoom(full: Socket | ServerResponse): void {
    this.#isDraining = true;
    this.#source.pause();
    full.once('drain', () => {
      this.#isDraining = false;
      if (this.#waiting === undefined) this.#source.resume();
    });
  }

  /** Runs now where nothing is waited for, else after what came before. */
  #order(after: Promise<void> | undefined, action: () => void): void {
    if (after === undefined && this.#waiting === undefined) {
      action();
      return;
    }
    this.#source.pause();
    const before = this.#waiting;
    const waiting = Promise.all([before, after]).then(() => {
      if (this.#waiting === waiting) this.#waiting = undefined;
      action();
      if (!this.isPaused) this.#source.resume();
    });
    this.#waiting = waiting;
  }

  /** Only where this turn brought no bytes: node sends headers together with the first ones. */
  #flushHeaders(): void {
    if (this.#areHeadersOut || this.#res.destroyed || this.#res.writableEnded) return;
    this.#areHeadersOut = true;
    this.#res.flushHeaders();
  }
}
