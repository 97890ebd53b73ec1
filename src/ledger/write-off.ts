// What a close gives to nobody, as increments of the row `(unattributed)`. Pure.
import type { CellIncrement } from '#domain/settlement.ts';
import { UNATTRIBUTED_ROW } from '#domain/unattributed.ts';
import type { WriteOff } from '#domain/voucher.ts';

/** One increment per part, of its cost. */
export function toWriteOffIncrements(parts: readonly WriteOff[]): CellIncrement[] {
  return parts.map(({ hour, nanoUsd }) => ({
    hour,
    ...UNATTRIBUTED_ROW,
    metrics: { costNanoUsd: nanoUsd, otherNanoUsd: nanoUsd },
  }));
}
