// The report as CSV (RFC 4180, contract §6): one line per row, then what no row holds, so that totalUsd sums to capacity.
import { formatScaled, formatUsd } from '#domain/nano-usd.ts';
import { stringify } from 'csv-stringify/sync';
import { sumTokens } from './metric-sums.ts';
import type { ChargebackReport, ReportPool, ReportRow } from './report-shape.ts';

const FIGURE_COLUMNS = [
  'requests',
  'failedRequests',
  'inputTokens',
  'cachedInputTokens',
  'outputTokens',
  'reasoningTokens',
  'totalTokens',
  'gpuSeconds',
  'costUsd',
  'idleShareUsd',
  'totalUsd',
] as const;

/**
 * Lines end in CRLF. `line` is `usage`, `correction`, `variance` (the standard basis: actual − standard), `idle` (what the policy gave to nobody, where it arose), `unmetered`, or `pending` (charged but in
 * no row yet; only where there is any). With a team filter only that team's usage lines: the bill is not theirs.
 */
export function renderCsv(report: ChargebackReport): string {
  const header = ['line', ...report.groupBy, ...FIGURE_COLUMNS];
  const lines = [
    header,
    ...report.rows.map((row) => toUsageLine(row, report)),
    ...toCorrectionLines(report),
    ...toPoolLines(report),
  ];
  return stringify(
    lines.map((line) => line.map(defuse)),
    // The library quotes its own line ends only; readers end a row at a bare CR or LF too.
    { record_delimiter: 'windows', quoted_match: /[\r\n]/ },
  );
}

function toUsageLine({ dimensions, metrics, ...row }: ReportRow, { groupBy }: ChargebackReport): string[] {
  return [
    row.isVariance === true ? 'variance' : 'usage',
    ...groupBy.map((name) => dimensions[name] ?? ''),
    String(metrics.requests),
    String(metrics.failedRequests),
    String(metrics.inputTokens),
    String(metrics.cachedInputTokens),
    String(metrics.outputTokens),
    String(metrics.reasoningTokens),
    String(sumTokens(metrics)),
    formatScaled(metrics.gpuMicros, 6),
    formatUsd(metrics.costNanoUsd),
    formatUsd(row.idleShareNanoUsd),
    formatUsd(row.totalNanoUsd - row.correctionNanoUsd),
  ];
}

/** Usage lines hold what was measured; what corrections moved stands beside them and sums to 0. */
function toCorrectionLines({ corrections, groupBy }: ChargebackReport): string[][] {
  return corrections.map((line) => [
    'correction',
    ...groupBy.map((name) => line.dimensions[name] ?? ''),
    ...FIGURE_COLUMNS.map((column) => (column === 'totalUsd' ? formatUsd(line.nanoUsd) : '')),
  ]);
}

function toPoolLines(report: ChargebackReport): string[][] {
  if (report.team !== null) return [];
  const { totals, pools } = report;
  // Shared idle stands in the rows; what is left of it belongs to no single pool line.
  const idle =
    report.idlePolicy === 'separate'
      ? pools.map((pool) => toRestLine('idle', pool.idleNanoUsd, { report, pool }))
      : [toRestLine('idle', totals.unsharedNanoUsd, { report, pool: null })];
  const unmetered = pools
    .filter(({ unmeteredNanoUsd }) => unmeteredNanoUsd !== 0n)
    .map((pool) => toRestLine('unmetered', pool.unmeteredNanoUsd, { report, pool }));
  const pending = pools
    .filter(({ pendingNanoUsd }) => pendingNanoUsd !== 0n)
    .map((pool) => toRestLine('pending', pool.pendingNanoUsd, { report, pool }));
  return [...idle, ...unmetered, ...pending];
}

function toRestLine(
  line: string,
  nanoUsd: bigint,
  { report, pool }: { report: ChargebackReport; pool: ReportPool | null },
): string[] {
  const dimensions = report.groupBy.map((name) => (name === 'deployment' ? (pool?.deployment ?? '') : ''));
  const figures = FIGURE_COLUMNS.map((column) => (column === 'totalUsd' ? formatUsd(nanoUsd) : ''));
  return [line, ...dimensions, ...figures];
}

/** A spreadsheet runs a cell that begins like a formula: an apostrophe makes it text (OWASP, "CSV injection"). */
function defuse(cell: string): string {
  const isFormula = /^[=+\-@\t\r\n]/.test(cell) && !/^[+-]?\d+(\.\d+)?$/.test(cell);
  return isFormula ? `'${cell}` : cell;
}
