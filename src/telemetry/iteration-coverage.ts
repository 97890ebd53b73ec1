// From iteration rows to time that is known: when the engine worked and when it did not. State of one engine.
// Not here: reading rows (iteration-rows.ts), windows (accounting/device-activity.ts).
import { ClockAlignment } from './clock-alignment.ts';
import type { IterationRow } from './iteration-rows.ts';

/** A stretch of known time on our monotonic clock; `busyMs` of it the GPUs worked. */
export interface KnownStretch {
  readonly fromMs: number;
  readonly toMs: number;
  readonly busyMs: number;
}

/** A row without iteration time is taken for noise, one longer than this for nonsense. */
const ITERATION_MS_MAX = 60_000;

/**
 * Iterations are numbered, so that between two rows that follow each other nothing else ran: the time from the end of one to the end of the next
 * is known, and as much of it is busy as the iteration took. After a gap (rows that were lost, thinned or read by somebody else, a restart)
 * only the iteration itself is known. What follows the last row is not known: an engine may keep rows back until a request completes.
 */
export class IterationCoverage {
  readonly #alignment = new ClockAlignment();
  #isFirstAnswer = true;
  #lastIteration: number | null = null;
  #lastEndMs: number | null = null;
  /** Iteration time that did not fit between two instants, since rows are written a little early or late. */
  #owedMs = 0;

  /** Takes the rows of one answer, read at `readMs` of our monotonic clock. The first answer only empties what was written before we asked. */
  take(rows: readonly IterationRow[], readMs: number): readonly KnownStretch[] {
    if (this.#isFirstAnswer) {
      this.#isFirstAnswer = false;
      this.#lastIteration = rows.at(-1)?.iteration ?? null;
      return [];
    }
    const newest = rows.at(-1)?.writtenMs ?? null;
    if (newest === null) return [];
    if (!this.#alignment.observe(readMs, newest)) this.#lastEndMs = null;
    return rows.flatMap((row) => this.#stretchOf(row));
  }

  #stretchOf({ iteration, writtenMs, gpuMs }: IterationRow): readonly KnownStretch[] {
    const follows = iteration !== null && iteration === (this.#lastIteration ?? Number.NaN) + 1;
    this.#lastIteration = iteration;
    const endMs = writtenMs === null ? null : this.#alignment.toOurs(writtenMs);
    if (endMs === null || gpuMs === null || gpuMs > ITERATION_MS_MAX) {
      this.#lastEndMs = null;
      return [];
    }
    const before = follows ? this.#lastEndMs : null;
    this.#lastEndMs = endMs;
    if (before === null) {
      this.#owedMs = 0;
      return gpuMs > 0 ? [{ fromMs: endMs - gpuMs, toMs: endMs, busyMs: gpuMs }] : [];
    }
    if (endMs <= before) {
      this.#lastEndMs = before;
      this.#owedMs += gpuMs;
      return [];
    }
    const busyMs = Math.min(endMs - before, gpuMs + this.#owedMs);
    this.#owedMs = Math.min(gpuMs, this.#owedMs + gpuMs - busyMs);
    // The iteration is the end of it: what it leaves was idle, and may reach over many seconds.
    const startMs = endMs - busyMs;
    const idle = startMs > before ? [{ fromMs: before, toMs: startMs, busyMs: 0 }] : [];
    return busyMs > 0 ? [...idle, { fromMs: startMs, toMs: endMs, busyMs }] : idle;
  }
}
