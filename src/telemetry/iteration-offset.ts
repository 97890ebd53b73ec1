// How the iteration numbers of requests' entries stand against those of iteration rows: engines that overlap iterations may write an entry's numbers
// one or two later than the row's. State of one life of an engine. Not here: the numbers (step-groups.ts).
import type { IterationRow } from './iteration-rows.ts';
import type { StepGroup } from './step-groups.ts';

/** Offsets that are thought of, either way. */
const OFFSET_MAX = 3;
/** Iterations with prefill before an offset is believed, and the part of them that must bear it out: no other may have as much. */
const VOTES_MIN = 8;
const AGREEMENT_MIN = 0.9;
/** What is older is forgotten by half. */
const VOTES_MAX = 400;
/** Rows and entries tell the forward time from the same two events; some versions round it. */
const TIME_PART = 1e-4;
const TIME_MS = 0.006;

/**
 * Finds it by trying: iterations with prefill are unlike their neighbours, in who took part and in how long they took. Null until one offset fits nearly
 * always and no other does; where all iterations are alike it stays null, and no entry is matched.
 */
export class IterationOffset {
  readonly #agreed = new Map<number, number>();
  #votes = 0;

  /** An entry's number plus this is the row's. */
  get value(): number | null {
    if (this.#votes < VOTES_MIN) return null;
    const fitting = [...this.#agreed].filter(([, agreed]) => agreed >= AGREEMENT_MIN * this.#votes);
    return fitting.length === 1 ? (fitting[0]?.[0] ?? null) : null;
  }

  /** Compares a group that has a sure number with the rows around it; says nothing while one of them is missing. */
  observe(group: StepGroup, rowOf: (iteration: number) => IterationRow | undefined): void {
    const { iteration } = group;
    if (iteration === null || !group.isNumberSure || group.chunks.length === 0) return;
    const rows = OFFSETS.map((offset) => rowOf(iteration + offset));
    if (rows.includes(undefined)) return;
    this.#votes += 1;
    for (const [index, offset] of OFFSETS.entries()) {
      const row = rows[index];
      const agrees = row !== undefined && fitsRow(group, row);
      this.#agreed.set(offset, (this.#agreed.get(offset) ?? 0) + (agrees ? 1 : 0));
    }
    if (this.#votes < VOTES_MAX) return;
    this.#votes /= 2;
    for (const [offset, agreed] of this.#agreed) this.#agreed.set(offset, agreed / 2);
  }
}

const OFFSETS = Array.from({ length: 2 * OFFSET_MAX + 1 }, (_, index) => index - OFFSET_MAX);

/** False where the row cannot be the group's: fewer took part, or the forward pass, where both tell it, took another time. */
export function fitsRow({ chunks, decoders, forwardMs }: StepGroup, row: IterationRow): boolean {
  if (row.prefilling < chunks.length || row.decoding < decoders.length) return false;
  if (row.forwardMs === null || forwardMs === null) return true;
  return Math.abs(row.forwardMs - forwardMs) <= Math.max(TIME_MS, TIME_PART * forwardMs);
}
