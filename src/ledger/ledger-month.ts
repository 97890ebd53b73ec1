// UTC months on the command line of `month close` and `ledger adjust`. Not here: days and hours (ledger-period.ts).
import { LedgerFlagError } from './ledger-period.ts';

/** A UTC month: epoch seconds, `to` exclusive. */
export interface LedgerMonth {
  /** Such as `2026-10`. */
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** `2026-10`. Throws LedgerFlagError naming `flag`. */
export function parseMonth(flag: string, text: string): LedgerMonth {
  const match = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(text);
  if (match === null) throw new LedgerFlagError(`${flag} must be a month such as 2026-10; got "${text}"`);
  const [year, month] = [Number(match[1]), Number(match[2])];
  return { name: text, from: Date.UTC(year, month - 1, 1) / 1000, to: Date.UTC(year, month, 1) / 1000 };
}

/** The UTC month that holds an epoch second. */
export function monthAt(second: number): LedgerMonth {
  return parseMonth('', new Date(second * 1000).toISOString().slice(0, 7));
}
