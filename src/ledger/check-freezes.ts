// Recomputes the chain of freezes hour by hour from the digests the store keeps. Not here: what a freeze says (attribution).
import { chainFreeze } from '#attribution/freeze-chain.ts';
import type { FreezeHour, LedgerReader } from '#domain/ledger.ts';
import { hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';
import { type Breakage, createBreakage } from './breakage.ts';

interface ChainState {
  readonly k: number;
  readonly hash: string;
}

/** Checks that follow each other, oldest hour first. */
export class FreezeAudit {
  readonly #ledger: LedgerReader;
  #state: ChainState | null = null;

  constructor(ledger: LedgerReader) {
    this.#ledger = ledger;
  }

  /** The hours from `from` to the frontier (epoch seconds); null when every kept hour follows from the one before and the last ends where the store stands. */
  async check(from: number, to: number): Promise<Breakage | null> {
    const { frontier } = await this.#ledger.readHeads();
    if (frontier === null) return null;
    const last = hourOf(frontier);
    for (let hour = hourOf(from); hour < to && hour <= last; hour += SECONDS_PER_HOUR) {
      // Read before the digests: those of later freezes are left out.
      const heads = await this.#ledger.readHeads();
      const kept = await this.#ledger.readFreezeHour(hour);
      if (kept === null) {
        // The frontier crosses every hour edge with a freeze, so a hole is a loss; before the first kept hour it is retention.
        if (this.#state === null) continue;
        return createBreakage(
          'freeze',
          { id: `${this.#state.k + 1}`, hour },
          { expected: 'freezes', found: 'missing' },
        );
      }
      const isNewest = heads.frontier !== null && hourOf(heads.frontier) === hour;
      const broken = this.#follow(kept, isNewest ? { k: heads.k, hash: heads.freezeHash } : null);
      if (broken !== null) return broken;
    }
    return null;
  }

  #follow(kept: FreezeHour, head: ChainState | null): Breakage | null {
    const { hour, firstK, previousHash } = kept;
    const before = this.#state;
    const digests = head === null ? kept.digests : kept.digests.slice(0, Math.max(0, head.k - firstK + 1));
    const id = `${firstK}–${firstK + digests.length - 1}`;
    if (before !== null && (before.k + 1 !== firstK || before.hash !== previousHash)) {
      const what = { expected: `${before.k + 1} after ${before.hash}`, found: `${firstK} after ${previousHash}` };
      // What does not lead here is the hour before, whose freezes the store chained when it was right.
      return createBreakage('freeze', { id: `–${before.k}`, hour: hour - SECONDS_PER_HOUR }, what);
    }
    const hash = digests.reduce(chainFreeze, previousHash);
    this.#state = { k: firstK + digests.length - 1, hash };
    if (head === null || (head.k === this.#state.k && head.hash === hash)) return null;
    const what = { expected: `${head.k}: ${head.hash}`, found: `${this.#state.k}: ${hash}` };
    return createBreakage('freeze', { id, hour }, what);
  }
}
