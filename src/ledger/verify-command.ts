// `inferometer ledger verify`: flags to a verdict in words or JSON. Opening the store is the caller's (commands/ledger.ts).
import type { ArchiveMarks } from '#domain/archive-marks.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { checkArchive } from './audit-archive.ts';
import type { Breakage } from './breakage.ts';
import { LedgerFlagError, parseHour } from './ledger-period.ts';
import { verifyLedger, type VerifyResult } from './verify-ledger.ts';

export interface VerifyArguments {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly json?: boolean | undefined;
}

export interface VerifyCommandRequest {
  readonly ledger: LedgerReader;
  readonly books: BooksReader;
  readonly marks: ArchiveMarks;
  /** `retention.archive`; empty for none. */
  readonly archive: string;
  readonly recordsMs: number;
  readonly rollupsMs: number;
  readonly args: VerifyArguments;
  readonly write: (text: string) => void;
  readonly onProgress: (share: number, text: string) => void;
}

/** Writes the verdict; exit code 0 everything adds up, 1 it does not. Rejects with LedgerFlagError for flags that make no period. */
export async function runVerifyCommand(request: VerifyCommandRequest): Promise<0 | 1> {
  const { args, write, onProgress, ...rest } = request;
  const period = { from: parseHour('--from', args.from), to: parseHour('--to', args.to) };
  if (period.from !== null && period.to !== null && period.from >= period.to) {
    throw new LedgerFlagError('--from must be before --to');
  }
  const verified = await verifyLedger({
    ...rest,
    period,
    onProgress: (share, text) => onProgress(share * 0.9, text),
  });
  const archived = await checkArchive({
    ...rest,
    folder: request.archive,
    onProgress: (share, text) => onProgress(0.9 + share * 0.1, text),
  });
  const firstBroken = verified.firstBroken ?? archived;
  const result = { ...verified, ok: verified.ok && firstBroken === null, firstBroken };
  write(args.json === true ? `${JSON.stringify(toVerdictJson(result))}\n` : renderVerdict(result));
  return result.ok ? 0 : 1;
}

/** Contract §2. */
export function toVerdictJson(result: VerifyResult): Readonly<Record<string, unknown>> {
  const { ok, records, hours, differenceNanoUsd, firstBroken } = result;
  return { ok, records, hours, differenceNanoUsd: differenceNanoUsd.toString(), firstBroken };
}

/** One line, and two more about the first breakage. */
export function renderVerdict({ ok, records, hours, differenceNanoUsd, firstBroken }: VerifyResult): string {
  const scope = `${records} records and ${hours} hours recomputed, difference ${differenceNanoUsd} nanodollars`;
  if (ok) return `The ledger adds up: ${scope}.\n`;
  return `The ledger does not add up: ${scope}.\n${firstBroken === null ? '' : describe(firstBroken)}`;
}

function describe({ kind, id, hour, expected, found }: Breakage): string {
  const where = hour === null ? '' : `, hour ${hour}`;
  return `First broken: ${kind} ${id}${where}\n  expected ${expected}\n  found    ${found}\n`;
}
