// What `ledger verify` says about the first thing that does not add up. No checks here.
import { formatSecond } from '#domain/window.ts';

/**
 * `entry` an applied claim is missing, altered or out of line; `record`, `line`, `increment` name the part of it; `freeze` the chain of freezes;
 * `book` capacity books of an hour and pool; `cell` a rollup cell; `voucher` an adjustment or close; `close` figures of a closed month;
 * `manifest` a day of the archive.
 */
export type BreakageKind =
  | 'entry'
  | 'record'
  | 'line'
  | 'increment'
  | 'freeze'
  | 'book'
  | 'cell'
  | 'voucher'
  | 'close'
  | 'manifest';

export interface Breakage {
  readonly kind: BreakageKind;
  /** `<journal>.<seq>` of an entry or increment, record id of a record or line, freeze numbers, pool, or cell dimensions. */
  readonly id: string;
  /** RFC 3339 of the UTC hour; null where none is known. */
  readonly hour: string | null;
  /** What the rest of the ledger says should stand there, with its unit or metric in words where it is not a hash. */
  readonly expected: string;
  readonly found: string;
}

/** A breakage at an hour given by its first epoch second. */
export function createBreakage(
  kind: BreakageKind,
  where: { readonly id: string; readonly hour: number | null },
  what: { readonly expected: string; readonly found: string },
): Breakage {
  return { kind, id: where.id, hour: where.hour === null ? null : formatSecond(where.hour), ...what };
}
