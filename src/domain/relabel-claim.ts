// What a claim means once months are closed: its money of closed hours becomes a pair of corrections in an open hour, its counts move there.
// Pure; both stores apply it, and `ledger verify` recomputes it.
import type { CorrectionLine, LateClaim } from './voucher.ts';
import { CELL_METRICS, type CellIncrement, type Claim, type SyncMessage } from './settlement.ts';
import { UNATTRIBUTED, UNATTRIBUTED_ROW } from './unattributed.ts';
import { hourOf } from './window.ts';

/** Part of a cost: they stay with the row that was written off. */
const MONEY: ReadonlySet<string> = new Set([
  'gpuMicros',
  'costNanoUsd',
  'prefillNanoUsd',
  'decodeNanoUsd',
  'otherNanoUsd',
  'wastedNanoUsd',
  'wastedGpuMicros',
]);

/** Effects of a claim in the books. */
export interface RelabelledClaim {
  readonly increments: readonly CellIncrement[];
  readonly pools: Claim['pools'];
  /** Null where no money of a closed month came. */
  readonly late: LateClaim | null;
}

/** `closedThrough`: epoch second before which everything is closed; 0 for nothing. A claim without closed hours is returned as it is. */
export function relabelClaim(
  { journal, seq, sealedThrough }: Pick<SyncMessage, 'journal' | 'seq' | 'sealedThrough'>,
  claim: Claim,
  closedThrough: number,
): RelabelledClaim {
  const { increments, pools } = claim;
  const isClosed = ({ hour }: { readonly hour: number }) => hour < closedThrough;
  if (!increments.some(isClosed) && !pools.some(isClosed)) return { increments, pools, late: null };
  const hour = Math.max(closedThrough, hourOf(sealedThrough));
  const moved = increments.filter(isClosed);
  const lines = toLines(moved);
  return {
    increments: [...increments.filter((part) => !isClosed(part)), ...moved.flatMap((part) => withoutMoney(part, hour))],
    pools: pools.filter((part) => !isClosed(part)),
    late: lines.length === 0 ? null : { journal, seq, hour, corrects: monthOf(moved), lines },
  };
}

/** Each row gets its cost, and what was written off gives it back. */
function toLines(moved: readonly CellIncrement[]): CorrectionLine[] {
  const byRow = new Map<string, { readonly row: Omit<CorrectionLine, 'nanoUsd'>; sum: bigint }>();
  for (const { hour: _, metrics, ...row } of moved) {
    const key = JSON.stringify([row.team, row.project, row.keyId, row.model, row.deployment]);
    const known = byRow.get(key) ?? { row, sum: 0n };
    byRow.set(key, known);
    known.sum += BigInt(metrics.costNanoUsd ?? '0');
  }
  const rows = [...byRow.values()].filter(({ row, sum }) => sum !== 0n && row.team !== UNATTRIBUTED);
  const total = rows.reduce((sum, row) => sum + row.sum, 0n);
  if (rows.length === 0) return [];
  return [
    ...rows.map(({ row, sum }) => ({ ...row, nanoUsd: sum.toString() })),
    { ...UNATTRIBUTED_ROW, nanoUsd: (-total).toString() },
  ];
}

function withoutMoney(increment: CellIncrement, hour: number): CellIncrement[] {
  const kept = CELL_METRICS.flatMap((metric) => {
    const value = increment.metrics[metric];
    return MONEY.has(metric) || value === undefined ? [] : [[metric, value] as const];
  });
  return kept.length === 0 ? [] : [{ ...increment, hour, metrics: Object.fromEntries(kept) }];
}

/** First second of the UTC month of the oldest closed hour. */
function monthOf(moved: readonly CellIncrement[]): number {
  const date = new Date(moved.reduce((least, { hour }) => Math.min(least, hour), Number.MAX_SAFE_INTEGER) * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1) / 1000;
}
