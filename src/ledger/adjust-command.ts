// `inferometer ledger adjust`: flags to an adjustment, which moves money between two rows and never changes the bill.
import { randomUUID } from 'node:crypto';
import { formatUsd, parseNanoUsd } from '#domain/nano-usd.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import type { AdjustmentContent, Voucher, VoucherStore } from '#domain/voucher.ts';
import { formatSecond, hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';
import { canonicalJson } from '#attribution/freeze-chain.ts';
import { writeVouchers } from './archive-vouchers.ts';
import { LedgerFlagError } from './ledger-period.ts';
import { monthAt, parseMonth } from './ledger-month.ts';
import { createVoucher } from './voucher-chain.ts';

export interface AdjustArguments {
  readonly team?: string | undefined;
  readonly amount?: string | undefined;
  readonly against?: string | undefined;
  readonly project?: string | undefined;
  readonly model?: string | undefined;
  readonly deployment?: string | undefined;
  readonly month?: string | undefined;
  readonly reason?: string | undefined;
  readonly author?: string | undefined;
  readonly id?: string | undefined;
  readonly list?: boolean | undefined;
  readonly json?: boolean | undefined;
}

export interface AdjustCommandRequest {
  readonly vouchers: VoucherStore;
  readonly books: BooksReader;
  readonly ledger: LedgerReader;
  /** `retention.archive`; empty for none. */
  readonly archive: string;
  /** Names of the configured teams. */
  readonly teams: readonly string[];
  readonly args: AdjustArguments;
  readonly write: (text: string) => void;
}

/** The adjustment was not booked; the message says why. */
export class AdjustmentRefusedError extends Error {
  override name = 'AdjustmentRefusedError';
}

const TEXT_MAX = 500;
const TRIES_MAX = 20;
/** 18 digits, so that it fits 64 bits in every store. */
const AMOUNT_MAX = 10n ** 17n;

/**
 * Books one adjustment, or says that it stands there already under the same id; exit code 0. Rejects with LedgerFlagError for flags that cannot
 * be used, and AdjustmentRefusedError where the id is taken or the month is closed.
 */
export async function runAdjustCommand(request: AdjustCommandRequest): Promise<0> {
  const { args, books, write } = request;
  if (args.list === true) return list(request);
  const wanted = readFlags(args, await listTeams(request));
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const before = await books.readVouchers();
    const { closedThrough, nowMs } = await request.ledger.readHeads();
    const content = place(wanted, { closedThrough, nowMs });
    const known = before.find(({ id }) => id === wanted.id);
    if (known !== undefined) {
      checkSame(known, wanted);
      tell(write, known, { isNew: false, json: args.json === true });
      return 0;
    }
    const { id, author, reason } = wanted;
    const voucher = createVoucher(before, { id, author, reason, atMs: nowMs, content });
    if ((await request.vouchers.addVoucher(voucher, null)) === 'stale') continue;
    if (request.archive !== '') await writeVouchers(request.archive, books);
    tell(write, voucher, { isNew: true, json: args.json === true });
    return 0;
  }
  throw new AdjustmentRefusedError('others kept booking at the same moment: run it again');
}

interface Wanted {
  readonly id: string;
  readonly author: string;
  readonly reason: string;
  /** Null: the present month. */
  readonly month: string | null;
  readonly lines: AdjustmentContent['lines'];
}

/** Those of the config, and those that ever had a row while the books are kept. */
async function listTeams({ books, ledger, teams }: AdjustCommandRequest): Promise<readonly string[]> {
  const now = Math.floor((await ledger.readHeads()).nowMs / 1000);
  const cells = await books.readRollups({ from: monthAt(now - 400 * 86_400).from, to: monthAt(now).to }, 'month');
  return [...new Set([...teams, ...cells.map(({ team }) => team)])];
}

function readFlags(args: AdjustArguments, teams: readonly string[]): Wanted {
  const team = readText('--team', args.team);
  const against = args.against ?? UNATTRIBUTED;
  const known = [...new Set([...teams, UNATTRIBUTED])];
  for (const [flag, name] of [
    ['--team', team],
    ['--against', against],
  ] as const) {
    if (!known.includes(name))
      throw new LedgerFlagError(`${flag}: no team "${name}" in the config; there are ${known.join(', ')}`);
  }
  if (team === against) throw new LedgerFlagError('--against must be another row than --team');
  const amount = readAmount(args.amount);
  const row = { project: args.project ?? '', keyId: '', model: args.model ?? '', deployment: args.deployment ?? '' };
  const other = { ...row, project: '' };
  return {
    id: args.id === undefined ? randomUUID() : readText('--id', args.id),
    author: readText('--author', args.author),
    reason: readText('--reason', args.reason),
    month: args.month === undefined ? null : parseMonth('--month', args.month).name,
    lines: [
      { team, ...row, nanoUsd: amount.toString() },
      { team: against, ...other, nanoUsd: (-amount).toString() },
    ],
  };
}

function readText(flag: string, text: string | undefined): string {
  const trimmed = (text ?? '').trim();
  // oxlint-disable-next-line no-control-regex -- what must not reach a report
  if (trimmed === '' || trimmed.length > TEXT_MAX || /[\u0000-\u001f\u007f]/.test(trimmed))
    throw new LedgerFlagError(`${flag} is required: 1 to ${TEXT_MAX} characters on one line`);
  return trimmed;
}

function readAmount(text: string | undefined): bigint {
  try {
    const amount = parseNanoUsd(text ?? '');
    if (amount !== 0n && amount < AMOUNT_MAX && amount > -AMOUNT_MAX) return amount;
  } catch {
    // Told below, with what is expected.
  }
  throw new LedgerFlagError(
    `--amount is required: dollars other than 0, such as 12.50 or -0.000000001 (then it is taken from --team); got "${text ?? ''}"`,
  );
}

/** In the corrected month's last hour while it is open, else in the present hour. */
function place(wanted: Wanted, now: { readonly closedThrough: number; readonly nowMs: number }): AdjustmentContent {
  const present = hourOf(Math.floor(now.nowMs / 1000));
  const month = wanted.month === null ? monthAt(present) : parseMonth('--month', wanted.month);
  if (month.from > present) throw new LedgerFlagError(`--month ${month.name} has not begun`);
  const isOpen = month.from >= now.closedThrough;
  const hour = isOpen ? Math.min(present, month.to - SECONDS_PER_HOUR) : Math.max(present, now.closedThrough);
  return { kind: 'adjustment', hour, corrects: month.name, lines: wanted.lines };
}

function checkSame(known: Voucher, { id, author, reason, lines, month }: Wanted): void {
  const { content } = known;
  const isSame =
    content.kind === 'adjustment' &&
    known.author === author &&
    known.reason === reason &&
    (month === null || content.corrects === month) &&
    canonicalJson(content.lines) === canonicalJson(lines);
  if (!isSame) throw new AdjustmentRefusedError(`the id ${id} is taken by another adjustment: choose another --id`);
}

function tell(
  write: (text: string) => void,
  voucher: Voucher,
  { isNew, json }: { readonly isNew: boolean; readonly json: boolean },
): void {
  if (json) {
    write(`${JSON.stringify({ added: isNew, adjustment: toJson(voucher) })}\n`);
    return;
  }
  write(`${isNew ? 'Booked' : 'Already booked'}: ${describe(voucher)}\n`);
}

async function list({ books, args, write }: AdjustCommandRequest): Promise<0> {
  const all = (await books.readVouchers()).filter(({ content }) => content.kind === 'adjustment');
  if (args.json === true) write(`${JSON.stringify({ adjustments: all.map(toJson) })}\n`);
  else
    write(all.length === 0 ? 'No adjustment was booked.\n' : all.map((voucher) => `${describe(voucher)}\n`).join(''));
  return 0;
}

function toJson({ n, id, atMs, author, reason, content, hash }: Voucher): Readonly<Record<string, unknown>> {
  if (content.kind !== 'adjustment') return {};
  const lines = content.lines.map(({ nanoUsd, ...row }) => ({ ...row, amountNanoUsd: nanoUsd }));
  const { hour, corrects } = content;
  return {
    number: n,
    id,
    at: new Date(atMs).toISOString(),
    hour: formatSecond(hour),
    corrects,
    author,
    reason,
    lines,
    hash,
  };
}

function describe({ id, author, reason, content }: Voucher): string {
  if (content.kind !== 'adjustment') return '';
  const lines = content.lines.map(
    ({ team, nanoUsd }) => `${team} ${BigInt(nanoUsd) > 0n ? '+' : ''}${formatUsd(BigInt(nanoUsd))}`,
  );
  const { hour, corrects } = content;
  return `${lines.join(', ')} USD for ${corrects}, in the hour ${formatSecond(hour)}: ${reason} (${author}), id ${id}`;
}
