// Lines on their way to a file in few large writes: encoded in place, so that a line leaves no garbage behind. What they say: access-log.ts.
import { pino } from 'pino';
import type { LineSink } from './access-log.ts';

/** Lines wait for one write of this size, or for a second. */
const WRITE_BYTES = 16_384;
const FLUSH_MS = 1000;
/** A reader that stalls costs lines, never memory: the ledger is the record, the access log is not. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/** Owns the batch and the file behind it; what waits at the end of the process is written then. */
export class BatchedLines implements LineSink {
  readonly #out;
  #batch = Buffer.allocUnsafe(2 * WRITE_BYTES);
  #length = 0;
  #timer: NodeJS.Timeout | null = null;

  /** `dest` is a file descriptor or path. */
  constructor(dest: number | string) {
    this.#out = pino.destination({ dest, sync: false, maxLength: WAITING_BYTES_MAX });
    process.once('exit', () => {
      this.#flush();
      this.#out.flushSync();
    });
  }

  write(json: string): void {
    // One UTF-16 unit is three bytes of UTF-8 at most.
    const longest = json.length * 3 + 1;
    if (this.#length + longest > this.#batch.length) this.#flush();
    if (longest > this.#batch.length) {
      this.#out.write(`${json}\n`);
      return;
    }
    const end = this.#length + this.#batch.write(json, this.#length);
    this.#batch[end] = NEWLINE;
    this.#length = end + 1;
    if (this.#length >= WRITE_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#length === 0) return;
    this.#out.write(this.#batch.toString('utf8', 0, this.#length));
    this.#length = 0;
  }
}
