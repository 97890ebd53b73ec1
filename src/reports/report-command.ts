// `inferometer report`: flags to report to text. Opening the store and parsing the command line are main's.
import type { BooksReader } from '#domain/books.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { formatSecond } from '#domain/window.ts';
import type { Config } from '#config/config.ts';
import { writeFile } from 'node:fs/promises';
import { computeChargeback } from './chargeback.ts';
import { parseReportRequest } from './report-request.ts';
import type { ReportArguments, ReportRequest } from './report-request.ts';
import { renderCsv } from './render-csv.ts';
import { renderJson } from './render-json.ts';
import { renderTable } from './render-table.ts';
import { ReportParameterError } from './report-error.ts';
import type { ReportPeriod } from './report-period.ts';
import { readReportSource } from './read-report.ts';
import type { ChargebackReport } from './report-shape.ts';

/** Flags of the command as commander gives them: camelCase, absent where not given. */
export interface ReportCommandArguments extends ReportArguments {
  /** File instead of standard output. */
  readonly out?: string | undefined;
  /** Same as `--format json`. */
  readonly json?: boolean | undefined;
  /** Duration such as `30s`: wait that long for `to` to be settled. */
  readonly wait?: string | undefined;
}

/** Where text goes; `process.stdout` and `process.stderr` fit. */
export interface TextOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface ReportCommandRequest {
  readonly books: BooksReader;
  readonly config: Pick<Config, 'teams' | 'deployments'>;
  readonly args: ReportCommandArguments;
  readonly out: TextOutput;
  readonly err: TextOutput;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** When the command was given, by `now`: `--wait` counts from here. Default: the call. */
  readonly beganMs?: number;
  /** Replaced in tests; resolves after that many milliseconds. */
  readonly sleep?: (ms: number) => Promise<void>;
}

/** How often `--wait` looks at the frontier, which moves once a second. */
const POLL_MS = 500;

/** Exit code: 0 done, 1 it failed or `--wait` ran out, 2 bad usage. Errors are one line on `err`; never rejects. */
export async function runReportCommand(request: ReportCommandRequest): Promise<0 | 1 | 2> {
  try {
    const parsed = parseReportRequest(
      request.args.json === true ? { ...request.args, format: 'json' } : request.args,
      request.now(),
    );
    const waitMs = readWaitMs(request.args.wait);
    if (waitMs === null)
      throw new ReportParameterError('wait', `must be a duration such as 30s; got "${request.args.wait}"`);
    if (waitMs > 0 && !(await waitUntilSettled(request, { period: parsed.period, waitMs }))) {
      return fail(
        request,
        `not settled through ${formatSecond(parsed.period.to)} within ${request.args.wait}; run it again later`,
        1,
      );
    }
    const source = await readReportSource(request.books, parsed.period, parsed.groupBy);
    const report = computeChargeback({ ...parsed, source, config: request.config, nowMs: request.now() });
    await writeReport(request, renderReport(report, parsed, colorOf(request)));
    return 0;
  } catch (error) {
    if (error instanceof ReportParameterError) {
      return fail(request, `--${toFlag(error.parameter)} ${error.expectation}`, 2);
    }
    const reason = error instanceof Error ? error.message : String(error);
    const advice = error instanceof StoreUnavailableError ? '; check that the store of the config is running' : '';
    return fail(request, `${reason}${advice}`, 1);
  }
}

/** Text of a report in the format asked for. */
export function renderReport(
  report: ChargebackReport,
  { format }: Pick<ReportRequest, 'format'>,
  color: boolean,
): string {
  if (format === 'json') return renderJson(report);
  return format === 'csv' ? renderCsv(report) : renderTable(report, { color });
}

function colorOf({ out, args }: ReportCommandRequest): boolean {
  return out.isTTY === true && args.out === undefined;
}

async function waitUntilSettled(
  { books, now, beganMs = now(), sleep = pause }: ReportCommandRequest,
  { period, waitMs }: { period: ReportPeriod; waitMs: number },
): Promise<boolean> {
  const deadlineMs = beganMs + waitMs;
  for (;;) {
    const { frontier } = await Promise.race([books.readStatus(), expire(Math.max(0, deadlineMs - now()))]);
    if (frontier !== null && period.to <= frontier + 1) return true;
    const leftMs = deadlineMs - now();
    if (leftMs <= 0) return false;
    await sleep(Math.min(POLL_MS, leftMs));
  }
}

/** A store that hangs must not make the wait longer than was asked. */
function expire(ms: number): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => reject(new StoreUnavailableError('the store stopped answering during --wait')), ms).unref();
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function writeReport({ out, args }: ReportCommandRequest, text: string): Promise<void> {
  if (args.out === undefined) out.write(text);
  else await writeFile(args.out, text);
}

/** Milliseconds of `--wait`: 0 where it is not given, null where it is no duration. */
export function readWaitMs(text: string | undefined): number | null {
  if (text === undefined) return 0;
  const match = /^(\d{1,6})(ms|s|m|h)$/.exec(text.trim());
  if (match === null) return null;
  const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] ?? 's'] ?? 1000;
  return Number(match[1]) * unitMs;
}

/** `groupBy` → `group-by`. */
function toFlag(parameter: string): string {
  return parameter.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function fail({ err }: ReportCommandRequest, message: string, code: 1 | 2): 1 | 2 {
  err.write(`inferometer report: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
  return code;
}
