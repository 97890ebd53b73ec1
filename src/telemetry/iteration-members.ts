// Puts requests' step times beside iteration rows: which requests made up an iteration, and so exactly what work its time was for. State of one engine.
// Not here: rows (iteration-rows.ts), entries (request-timings.ts), the fit (iteration-profile.ts).
import { ChunkTokens } from './chunk-tokens.ts';
import { fitsRow, IterationOffset } from './iteration-offset.ts';
import type { ExactIteration } from './iteration-profile.ts';
import type { IterationRow } from './iteration-rows.ts';
import type { RequestTiming } from './request-timings.ts';
import { type StepGroup, StepGroups } from './step-groups.ts';

/** A row waits this long for the requests of its iteration to end. */
const HOLD_MS = 120_000;
/** Without an entry for so long, rows wait for none. */
const SILENCE_MS = 300_000;
/** Rows that wait, and rows that are looked up. */
const ROWS_MAX = 20_000;
/** Rows that are looked up before the first entry: an engine may never write one. */
const ROWS_UNHEARD_MAX = 2000;

/**
 * **When a group is whole.** An entry comes when its request has ended, and some never come: of requests that were cut off, of Responses requests, of
 * further choices, those read by somebody else, those that the engine's buffer dropped. So entries alone never prove that an iteration's members are
 * all there, however long one waits; the row does, which says how many sequences prefilled and how many decoded. A group is used as an iteration
 * only where it has exactly as many, is the only one of its number, nobody contradicts it, its forward time is the row's and every prompt's length is
 * known. Until then its row waits, after two minutes for nothing more: never half a group as if it were whole.
 *
 * **Its time** is forward plus sampling, once: both are the batch's, copied to every member. The next forward pass waits for the sampling, so that its
 * time was spent on these members too.
 */
export class IterationMembers {
  #groups = new StepGroups();
  #offset = new IterationOffset();
  readonly #tokens = new ChunkTokens();
  /** Null: several rows have the number. */
  readonly #rows = new Map<number, IterationRow | null>();
  #waiting: { readonly row: IterationRow; readonly atMs: number }[] = [];
  #lastIteration = Number.NEGATIVE_INFINITY;
  #heardAtMs = Number.NEGATIVE_INFINITY;

  /** What is kept now, for whoever watches the bounds. */
  get size(): { readonly rows: number; readonly waiting: number; readonly memberships: number } {
    return { rows: this.#rows.size, waiting: this.#waiting.length, memberships: this.#groups.size.memberships };
  }

  /** Takes what was read at `nowMs` (ours, monotonic) and gives the iterations that are known by now, each once, in order. */
  take(rows: readonly IterationRow[], timings: readonly RequestTiming[], nowMs: number): readonly ExactIteration[] {
    for (const row of rows) {
      if (row.iteration === null) continue;
      // The engine was started again and counts from the start.
      if (row.iteration < this.#lastIteration) this.#beginAnew();
      this.#lastIteration = row.iteration;
      if (row.prefilling + row.decoding > 0) this.#waiting.push({ row, atMs: nowMs });
      this.#remember(row.iteration, row);
    }
    for (const timing of timings) {
      for (const group of this.#groups.add(timing, nowMs)) {
        this.#offset.observe(group, (iteration) => this.#rows.get(iteration) ?? undefined);
      }
    }
    if (timings.length > 0) this.#heardAtMs = nowMs;
    return this.#settle(nowMs);
  }

  #beginAnew(): void {
    this.#waiting = [];
    this.#rows.clear();
    this.#groups = new StepGroups();
    this.#offset = new IterationOffset();
  }

  #remember(iteration: number, row: IterationRow): void {
    this.#rows.set(iteration, this.#rows.has(iteration) ? null : row);
    const most = Number.isFinite(this.#heardAtMs) ? ROWS_MAX : ROWS_UNHEARD_MAX;
    for (const oldest of this.#rows.keys()) {
      if (this.#rows.size <= most) break;
      this.#rows.delete(oldest);
    }
  }

  /** In order: a row waits for those before it, so that prompts are understood before what decodes on them. */
  #settle(nowMs: number): readonly ExactIteration[] {
    const holdMs = nowMs - this.#heardAtMs <= SILENCE_MS ? HOLD_MS : 0;
    const settled: ExactIteration[] = [];
    let left = 0;
    for (const { row, atMs } of this.#waiting) {
      const group = this.#match(row);
      const isWaiting = nowMs - atMs < holdMs && this.#waiting.length - left <= ROWS_MAX;
      if (isWaiting && (group === null || !isWhole(group, row))) break;
      left += 1;
      if (group === null) continue;
      this.#groups.remove(group);
      if (group.chunks.length === row.prefilling) this.#tokens.resolve(group, row);
      const iteration = isWhole(group, row) ? measureIteration(group, row) : null;
      if (iteration !== null) settled.push(iteration);
    }
    this.#waiting = this.#waiting.slice(left);
    return settled;
  }

  #match(row: IterationRow): StepGroup | null {
    const offset = this.#offset.value;
    if (offset === null || row.iteration === null || this.#rows.get(row.iteration) !== row) return null;
    const group = this.#groups.find(row.iteration - offset);
    if (group === null || group.isContradictory || !fitsRow(group, row)) return null;
    // A number that is only likely needs the time to bear it out.
    return group.isNumberSure || row.forwardMs !== null ? group : null;
  }
}

function isWhole({ chunks, decoders, batch, forwardMs }: StepGroup, { prefilling, decoding }: IterationRow): boolean {
  const isStated = batch === null || (batch.prefilling === prefilling && batch.decoding === decoding);
  return isStated && forwardMs !== null && chunks.length === prefilling && decoders.length === decoding;
}

/** Null where the length of a prompt or chunk is not known. */
function measureIteration(group: StepGroup, row: IterationRow): ExactIteration | null {
  const { chunks, decoders, generatedTokens, forwardMs, sampleMs } = group;
  if (forwardMs === null || row.iteration === null) return null;
  let prefilled = 0;
  let squares = 0;
  for (const { prompt, index } of chunks) {
    const tokens = prompt.tokensOf(index);
    const context = prompt.contextOf(index, row.blockTokens);
    if (tokens === null || context === null) return null;
    prefilled += tokens;
    squares += tokens * (2 * context + tokens);
  }
  // Blocks are right to half a block; chunks that tell their tokens themselves must come to the row's.
  if (Math.abs(prefilled - row.prefillTokens) > 0.5) return null;
  let contextTokens = generatedTokens;
  for (const prompt of decoders) {
    const length = prompt.isSteady ? prompt.lengthOf(row.blockTokens) : null;
    if (length === null) return null;
    contextTokens += length;
  }
  const members = chunks.length + decoders.length;
  const work = [1, row.prefillTokens, squares, decoders.length, contextTokens] as const;
  return { iteration: row.iteration, work, members, gpuMs: forwardMs + sampleMs };
}
