// The append-only file of one process: numbered segments of checked lines, written before anything depends on them.
// Not here: what the lines mean (journal-replay.ts), who may write (journal-lock.ts), which segments are still needed (sync-loop.ts).
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, mkdirSync, writeSync } from 'node:fs';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import { type FsyncMode, GroupSync } from './group-sync.ts';
import { type EncodedLine, type JournalEntry, type JournalHead, LineEncoder, readEncoded } from './journal-entry.ts';
import { type JournalIdentity, readJournalIdentity, renewJournalIdentity } from './journal-identity.ts';
import { type LineLocation, readLine, readSegment } from './journal-lines.ts';
import { type JournalLock, lockJournal } from './journal-lock.ts';
import { settleLastSegment, JournalSegments, openSegment, segmentPath } from './journal-segments.ts';
import { TurnLines } from './turn-lines.ts';
import { UnwrittenLines } from './unwritten-lines.ts';
import { writePieces } from './write-pieces.ts';

export interface JournalOptions {
  readonly dir: string;
  readonly fsync: FsyncMode;
  readonly clock: Clock;
  readonly log: Log;
  /** A segment is closed at this size … */
  readonly segmentBytes?: number;
  /** … or age. */
  readonly segmentMs?: number;
  /** See SegmentLimits; default: nothing is kept that is not needed, and no limit. */
  readonly retentionMs?: number | undefined;
  readonly maxBytes?: number | undefined;
}

const CLOSED = -1;
const SEGMENT_BYTES = 64 * 1024 * 1024;
const SEGMENT_MS = 5 * 60_000;
/** Lines written at once after the disk took lines again, so that a request does not wait for all of them. */
const CAUGHT_UP_AT_ONCE = 500;

/**
 * Takes the directory's lock, counts this start, cuts a torn tail and opens a new segment. Throws JournalLockedError when another process
 * holds it, and the system's error when the directory cannot be made or written.
 */
export function openJournal(options: JournalOptions): Journal {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  const lock = lockJournal(options.dir);
  try {
    return new Journal(options, lock, readJournalIdentity(options.dir));
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** An open journal. Appending never throws: what cannot be written waits in memory, in order, and `ok` is false until the disk has all of it. */
export class Journal {
  #identity: JournalIdentity;
  readonly #options: JournalOptions;
  readonly #lock: JournalLock;
  readonly #closed: JournalSegments;
  #segment: number;
  #fd: number;
  /** Names of a segment in its folder: 1, or what a file system says that does not count them. */
  readonly #links: number;
  #isRemoved = false;
  #size = 0;
  #openedAtMs: number;
  readonly #sync: GroupSync;
  readonly #encoder = new LineEncoder();
  /** See `appendSoon`. */
  readonly #soon = new TurnLines(() => this.commit());
  readonly #unwritten = new UnwrittenLines();
  #failedLines = 0;
  #ok = true;

  constructor(options: JournalOptions, lock: JournalLock, identity: JournalIdentity) {
    this.#options = options;
    this.#lock = lock;
    this.#identity = identity;
    const nowMs = options.clock.monotonicMs();
    const { retentionMs = 0, maxBytes = Number.MAX_SAFE_INTEGER } = options;
    this.#closed = new JournalSegments({ ...options, retentionMs, maxBytes });
    const { last } = this.#closed;
    if (last > 0) settleLastSegment(segmentPath(options.dir, last), options.log);
    this.#segment = last + 1;
    this.#fd = openSegment(options.dir, this.#segment);
    this.#links = fstatSync(this.#fd).nlink;
    this.#openedAtMs = nowMs;
    this.#sync = new GroupSync({
      mode: options.fsync,
      readFd: () => this.#fd,
      onFailed: (error) => this.#failWrite(error),
    });
  }

  /** Who writes here. */
  get identity(): JournalIdentity {
    return this.#identity;
  }

  /** Becomes a new member: for a journal that the store has forgotten. Throws the system's error when the directory cannot be written. */
  renewIdentity(): void {
    this.#identity = renewJournalIdentity(this.#options.dir);
  }

  /** False while a line waits for the disk. */
  get ok(): boolean {
    return this.#ok;
  }

  /** Nobody would find its lines; what depends on them goes on, since waiting would lose that too. */
  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  /** Failed attempts to write since the start. */
  get failedLines(): number {
    return this.#failedLines;
  }

  /** Lines that memory alone holds, and those that did not even fit there: what the death of this process would lose, or has lost. */
  get linesAtRisk(): number {
    return this.#unwritten.count + this.#unwritten.dropped;
  }

  /** Oldest segment that a restart replays; what lies before is kept for `ledger rebuild` only. */
  get replayFrom(): number {
    return this.#closed.replayFrom;
  }

  /** Bytes of all segments on disk. */
  get bytes(): number {
    return this.#closed.bytes + this.#size;
  }

  /** Number of the segment now written. */
  get segment(): number {
    return this.#segment;
  }

  /** Writes one line with write(2) before it returns; null when the disk refused it and it waits in memory. */
  append(entry: JournalEntry): LineLocation | null {
    const json = JSON.stringify(entry);
    this.commit();
    const location = this.#tryWrite(() => this.#write(json));
    if (location === null && this.#fd !== CLOSED) this.#unwritten.keep(json);
    return location;
  }

  /** The same for a line that is encoded already. */
  appendEncoded(line: EncodedLine): LineLocation | null {
    const location = this.appendOrForget(line);
    if (location === null && this.#fd !== CLOSED) this.#unwritten.keep(readEncoded(line));
    return location;
  }

  /** The same for one that must not be acted on unless it is written: null, and it is forgotten. */
  appendOrForget(line: EncodedLine): LineLocation | null {
    this.commit();
    return this.#tryWrite(() => this.#writePieces(line));
  }

  /**
   * The same for a line that nothing depends on before this turn of the event loop is over, or `commit` is called: those of many requests
   * are then one write(2).
   */
  appendSoon(entry: JournalEntry): void {
    this.#soon.add(JSON.stringify(entry));
  }

  /** Writes what `appendSoon` took with write(2) before it returns. Never throws: see `append`. */
  commit(): void {
    const lines = this.#soon.take();
    if (lines.length === 0 || this.#fd === CLOSED) return;
    let written = 0;
    const isWritten = this.#tryWrite(() => {
      for (const { bytes, count } of this.#encoder.encodeMany(lines)) {
        this.#writeBytes(bytes, count);
        written += count;
      }
      return true;
    });
    if (isWritten === null) for (const json of lines.slice(written)) this.#unwritten.keep(json);
  }

  /** Resolves when everything appended before the call is durable (at once with `off`). Never rejects: a disk error makes `ok` false. */
  async flush(): Promise<void> {
    this.commit();
    await this.#sync.flush();
  }

  /** What a finished record must wait for: nothing, or the disk in `strict` mode. */
  whenReleasable(): Promise<void> | undefined {
    return this.#options.fsync === 'strict' ? this.flush() : undefined;
  }

  /** Reads one line again; null when it is gone or damaged. */
  read(location: LineLocation): JournalEntry | null {
    this.commit();
    return readLine(this.#options, location);
  }

  /**
   * Every readable line of every segment from `replayFrom` on in the order it was made, at last those that wait for the disk (location null);
   * damaged lines are logged and left out.
   */
  *entries(): Generator<{ readonly entry: JournalEntry; readonly location: LineLocation | null }> {
    this.commit();
    for (const segment of [...this.#closed.replayed(), this.#segment]) {
      yield* readSegment(this.#options, segment);
    }
    for (const json of this.#unwritten.read()) yield { entry: JSON.parse(json) as JournalEntry, location: null };
  }

  /** Opens a new segment when the present one is large or old; `head` opens it. */
  rotateWhenDue(readHead: () => JournalHead): void {
    this.commit();
    if (this.#fd === CLOSED || this.#isRemoved) return;
    if (fstatSync(this.#fd).nlink < this.#links) {
      this.#isRemoved = true;
      this.#options.log.error({ dir: this.#options.dir }, 'the journal was removed: drain and restart the gateway');
      return;
    }
    const nowMs = this.#options.clock.monotonicMs();
    const large = this.#size >= (this.#options.segmentBytes ?? SEGMENT_BYTES);
    if (!large && nowMs - this.#openedAtMs < (this.#options.segmentMs ?? SEGMENT_MS)) return;
    try {
      fdatasyncSync(this.#fd);
      const fd = openSegment(this.#options.dir, this.#segment + 1);
      closeSync(this.#fd);
      this.#closed.add(this.#segment, this.#size);
      this.#fd = fd;
    } catch (error) {
      this.#failWrite(error);
      return;
    }
    this.#segment += 1;
    this.#size = 0;
    this.#openedAtMs = nowMs;
    this.append({ t: 'head', atMs: this.#options.clock.epochMs(), head: readHead(), replayFrom: this.replayFrom });
  }

  /** Segments before `oldestNeeded` need not be replayed; returns the numbers of those given up (see JournalSegments.release). */
  releaseBefore(oldestNeeded: number): number[] {
    return this.#closed.release(oldestNeeded, this.#size);
  }

  /** Makes everything durable, then gives the files and the lock back. */
  async close(): Promise<void> {
    this.commit();
    try {
      this.#unwritten.drain((line) => void this.#write(line), Number.POSITIVE_INFINITY);
    } catch (error) {
      this.#failWrite(error);
    }
    await this.flush();
    this.abandon();
  }

  /** Gives the files and the lock back at once, as death would. */
  abandon(): void {
    this.#soon.take();
    this.#sync.abandon();
    if (this.#fd === CLOSED) return;
    closeSync(this.#fd);
    // The number will be another file's: what is still appended must not reach it.
    this.#fd = CLOSED;
    this.#lock.release();
  }

  /** What waits goes first, so that the order of lines never changes. Null where the disk refused, whatever `write` had written by then. */
  #tryWrite<T>(write: () => T): T | null {
    if (this.#fd === CLOSED) return null;
    try {
      if (this.#closed.full) throw new Error('journal.maxBytes is reached by what the store has not taken yet');
      this.#unwritten.drain((line) => void this.#write(line), CAUGHT_UP_AT_ONCE);
      if (this.#unwritten.count > 0) return null;
      const written = write();
      if (!this.#ok) this.#options.log.info({}, 'the journal is written again, nothing waits for it');
      this.#ok = true;
      return written;
    } catch (error) {
      this.#failWrite(error);
      return null;
    }
  }

  #write(json: string): LineLocation {
    const line = this.#encoder.encode(json);
    const location = { segment: this.#segment, offset: this.#size, length: line.length };
    this.#writeBytes(line, 1);
    return location;
  }

  #writePieces({ pieces, length }: EncodedLine): LineLocation {
    const location = { segment: this.#segment, offset: this.#size, length };
    writePieces(this.#fd, pieces);
    this.#size += length;
    this.#sync.add(1);
    return location;
  }

  /** All of them or none: what a failure left of them is cut (`#failWrite`). */
  #writeBytes(bytes: Buffer, lines: number): void {
    let written = 0;
    while (written < bytes.length) written += writeSync(this.#fd, bytes, written, bytes.length - written);
    this.#size += bytes.length;
    this.#sync.add(lines);
  }

  #failWrite(error: unknown): void {
    this.#failedLines += 1;
    if (this.#ok) this.#options.log.error({ err: error }, 'the journal cannot be written; serving goes on unjournaled');
    this.#ok = false;
    try {
      // A half-written line would swallow the next one.
      ftruncateSync(this.#fd, this.#size);
    } catch (truncateError) {
      this.#options.log.error({ err: truncateError }, 'a half-written journal line could not be cut');
    }
  }
}
