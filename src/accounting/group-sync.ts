// When what was written to a file is durable: one fdatasync for many lines. Not here: writing (journal.ts).
import { fdatasync } from 'node:fs';

/** `grouped`: made durable within 50 ms; `strict`: before a record is released; `off`: when the system likes. */
export type FsyncMode = 'grouped' | 'strict' | 'off';

const GROUP_MS = 50;

export interface GroupSyncOptions {
  readonly mode: FsyncMode;
  /** File descriptor now written. One that is left behind is made durable by whoever leaves it. */
  readonly readFd: () => number;
  readonly onFailed: (error: Error) => void;
}

/** Counts lines written and lines durable. */
export class GroupSync {
  readonly #options: GroupSyncOptions;
  #written = 0;
  #durable = 0;
  #flushing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: GroupSyncOptions) {
    this.#options = options;
  }

  /** So many lines more were written. */
  add(lines: number): void {
    this.#written += lines;
    if (this.#options.mode !== 'grouped' || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.flush();
    }, GROUP_MS);
    this.#timer.unref();
  }

  /** Resolves when everything written before the call is durable (at once with `off`). Never rejects. */
  async flush(): Promise<void> {
    const target = this.#written;
    while (this.#durable < target && this.#options.mode !== 'off') {
      this.#flushing ??= this.#flushOnce();
      await this.#flushing;
    }
  }

  /** Nobody waits any more. */
  abandon(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#durable = this.#written;
  }

  #flushOnce(): Promise<void> {
    const { readFd, onFailed } = this.#options;
    const covered = this.#written;
    const fd = readFd();
    return new Promise((resolve) => {
      fdatasync(fd, (error) => {
        this.#flushing = null;
        this.#durable = Math.max(this.#durable, covered);
        // A file closed meanwhile was made durable first; its number may be another file's by now.
        if (error !== null && fd === readFd()) onFailed(error);
        resolve();
      });
    });
  }
}
