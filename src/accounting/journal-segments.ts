// The journal's closed segment files: which are still replayed, how long the others are retained, how large all may grow.
// Not here: their content (journal.ts).
import {
  closeSync,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import { decodeEntry } from './journal-entry.ts';
import { syncDirectory } from './journal-identity.ts';

const SEGMENT_NAME = /^segment-(\d{10})\.ndjson$/;
/** Segments are replayed this long after they were closed, so that a store that lost its latest writes can be healed. */
const REPLAY_MS = 15 * 60_000;
const HEAD_BYTES_MAX = 4096;

/** Path of a segment by its number, from 1. */
export function segmentPath(dir: string, number: number): string {
  return join(dir, `segment-${String(number).padStart(10, '0')}.ndjson`);
}

/** Numbers of the segments in a directory, ascending. */
export function listSegments(dir: string): number[] {
  return readdirSync(dir)
    .flatMap((name) => {
      const match = SEGMENT_NAME.exec(name);
      return match === null ? [] : [Number(match[1])];
    })
    .sort((a, b) => a - b);
}

/** Makes and opens a segment; its descriptor. Throws, leaving no file behind, when the disk does not take it: the same number is tried again. */
export function openSegment(dir: string, number: number): number {
  const path = segmentPath(dir, number);
  const fd = openSync(path, 'ax', 0o600);
  try {
    syncDirectory(dir);
    return fd;
  } catch (error) {
    closeSync(fd);
    unlinkSync(path);
    throw error;
  }
}

/**
 * Makes durable what an earlier run wrote into its last segment, before anything is done about it: a process that was killed had not synced all
 * of it. What follows the last whole line is cut; a torn line was never acknowledged to anybody.
 */
export function settleLastSegment(path: string, log: Log): void {
  const fd = openSync(path, 'r+');
  try {
    const bytes = readFileSync(path);
    const end = bytes.lastIndexOf(0x0a) + 1;
    if (end < bytes.length) {
      log.warn({ bytes: bytes.length - end }, 'the torn last line of the journal was cut');
      ftruncateSync(fd, end);
    }
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export interface SegmentLimits {
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** What nothing needs any more stays this long after it was closed, for `ledger rebuild`; 0: not at all. */
  readonly retentionMs: number;
  /** All segments together; retention is cut short before it is exceeded. */
  readonly maxBytes: number;
}

interface ClosedSegment {
  readonly number: number;
  readonly bytes: number;
  /** Monotonic; of an earlier run's segment when this run opened it. */
  readonly closedAtMs: number;
  /** Epoch milliseconds of its last write, by the machine's clock: it outlives restarts. */
  readonly writtenAtMs: number;
}

/** Closed segments of one open journal. */
export class JournalSegments {
  readonly #limits: SegmentLimits;
  #closed: readonly ClosedSegment[];
  #replayFrom: number;
  #full = false;
  #isCutShort = false;

  constructor(limits: SegmentLimits) {
    this.#limits = limits;
    const closedAtMs = limits.clock.monotonicMs();
    const numbers = listSegments(limits.dir);
    this.#closed = numbers.map((number) => {
      const { size, mtimeMs } = statSync(segmentPath(limits.dir, number));
      return { number, bytes: size, closedAtMs, writtenAtMs: mtimeMs };
    });
    this.#replayFrom = findReplayFrom(limits.dir, numbers);
  }

  /** Highest number so far; 0 without any. */
  get last(): number {
    return this.#closed.at(-1)?.number ?? 0;
  }

  /** Oldest segment that a restart replays. */
  get replayFrom(): number {
    return this.#replayFrom;
  }

  /** True when what is needed alone exceeds the limit: as good as a full disk. */
  get full(): boolean {
    return this.#full;
  }

  /** Bytes of all closed segments. */
  get bytes(): number {
    return this.#closed.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** Those that are replayed, ascending. */
  replayed(): number[] {
    return this.#closed.flatMap(({ number }) => (number < this.#replayFrom ? [] : [number]));
  }

  /** A segment was closed now. */
  add(number: number, bytes: number): void {
    const { clock } = this.#limits;
    const closed = { number, bytes, closedAtMs: clock.monotonicMs(), writtenAtMs: clock.epochMs() };
    this.#closed = [...this.#closed, closed];
  }

  /**
   * Segments before `oldestNeeded` are replayed no more once they were closed 15 minutes ago; returns the numbers of those just given up.
   * Deletes what is past its retention or over the limit, `openBytes` being the size of the open one.
   */
  release(oldestNeeded: number, openBytes: number): number[] {
    // On a full disk nothing is kept for a store that might lose writes.
    const limitMs = this.#limits.clock.monotonicMs() - (this.#full ? 0 : REPLAY_MS);
    const gone = this.#closed.filter(
      ({ number, closedAtMs }) => number >= this.#replayFrom && number < oldestNeeded && closedAtMs <= limitMs,
    );
    this.#replayFrom = Math.max(this.#replayFrom, (gone.at(-1)?.number ?? 0) + 1);
    this.#sweep(openBytes);
    return gone.map(({ number }) => number);
  }

  #sweep(openBytes: number): void {
    const { clock, retentionMs, maxBytes } = this.#limits;
    const nowMs = clock.epochMs();
    let bytes = this.bytes + openBytes;
    for (const segment of this.#closed) {
      if (segment.number >= this.#replayFrom) break;
      // A clock that was set back must not keep files for ever.
      const isOld = Math.abs(nowMs - segment.writtenAtMs) >= retentionMs;
      const isTooMuch = bytes > maxBytes;
      if (!isOld && !isTooMuch) break;
      if (!this.#delete(segment.number)) break;
      bytes -= segment.bytes;
      if (!isOld) this.#sayCutShort(segment);
    }
    const isFull = bytes > maxBytes;
    if (isFull && !this.#full)
      this.#limits.log.error(
        { bytes, maxBytes },
        'what the journal still needs exceeds journal.maxBytes: serving goes on unjournaled until the store takes it',
      );
    this.#full = isFull;
  }

  #delete(number: number): boolean {
    try {
      unlinkSync(segmentPath(this.#limits.dir, number));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) {
        this.#limits.log.warn({ err: error, segment: number }, 'a journal segment could not be deleted');
        return false;
      }
    }
    this.#closed = this.#closed.filter((closed) => closed.number !== number);
    return true;
  }

  #sayCutShort({ writtenAtMs }: ClosedSegment): void {
    if (this.#isCutShort) return;
    this.#isCutShort = true;
    const { maxBytes, retentionMs, clock, log } = this.#limits;
    const reachSeconds = Math.round((clock.epochMs() - writtenAtMs) / 1000);
    log.warn(
      { maxBytes, retentionSeconds: retentionMs / 1000, reachSeconds },
      'journal.maxBytes is reached before journal.retention: a lost store could be rebuilt only that far back beyond the archive',
    );
  }
}

/** What the newest segment that says so names as the oldest to replay; 1 where none does. */
function findReplayFrom(dir: string, numbers: readonly number[]): number {
  for (const number of numbers.toReversed()) {
    const entry = readFirstEntry(segmentPath(dir, number));
    if (entry?.t === 'head' && entry.replayFrom !== undefined) return entry.replayFrom;
  }
  return 1;
}

function readFirstEntry(path: string): ReturnType<typeof decodeEntry> {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(HEAD_BYTES_MAX);
    const end = bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0)).indexOf(0x0a);
    return end === -1 ? null : decodeEntry(bytes.toString('utf8', 0, end));
  } finally {
    closeSync(fd);
  }
}
