// What a close gives to nobody, as increments of the row `(unattributed)`. Pure.
import { UNATTRIBUTED_TEAM } from '#domain/relabel-claim.ts';
import type { CellIncrement } from '#domain/settlement.ts';
import type { WriteOff } from '#domain/voucher.ts';

/** One increment per part, of its cost. */
export function toWriteOffIncrements(parts: readonly WriteOff[]): CellIncrement[] {
  const nobody = { team: UNATTRIBUTED_TEAM, project: '', keyId: '', model: '', deployment: '' };
  return parts.map(({ hour, nanoUsd }) => ({
    hour,
    ...nobody,
    metrics: { costNanoUsd: nanoUsd, otherNanoUsd: nanoUsd },
  }));
}
