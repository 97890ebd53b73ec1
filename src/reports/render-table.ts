// The report for a terminal: rows, where the rest of the bill went, savings, and whether the books balance.
import { formatScaled, formatUsdShortest } from '#domain/nano-usd.ts';
import { formatSecond } from '#domain/window.ts';
import CliTable from 'cli-table3';
import { styleText } from 'node:util';
import { sumTokens } from './metric-sums.ts';
import { formatCents } from './render-json.ts';
import type { ChargebackReport, ReportRow } from './report-shape.ts';

export interface TableOptions {
  /** Escape codes only where a terminal reads them. */
  readonly color: boolean;
}

/** Text with a final newline. Dollars are rounded for reading (the JSON is exact); rows show cents that sum to the rounded total. */
export function renderTable(report: ChargebackReport, options: TableOptions): string {
  const paint = createPaint(options);
  const period = `${formatSecond(report.from)} to ${formatSecond(report.to)} (${report.timezone})`;
  const who = report.team === null ? '' : `, team ${clean(report.team)}`;
  const parts = [
    paint('bold', `Chargeback ${period}${who}, idle ${report.idlePolicy}`),
    renderRows(report, options),
    renderBill(report, options),
    ...report.savings.map(renderSaving),
    renderDifference(report, paint),
    renderSettled(report, paint),
    ...report.notes,
  ];
  return `${parts.filter((part) => part !== '').join('\n')}\n`;
}

type Paint = (format: 'bold' | 'red' | 'green' | 'yellow', text: string) => string;

function createPaint({ color }: TableOptions): Paint {
  return (format, text) => (color ? styleText(format, text, { validateStream: false }) : text);
}

function createTable(head: readonly string[], textColumns: number, { color }: TableOptions): CliTable.Table {
  return new CliTable({
    head: [...head],
    colAligns: head.map((_, index) => (index < textColumns ? 'left' : 'right')),
    style: color ? { head: ['cyan'], border: ['gray'] } : { head: [], border: [] },
  });
}

function renderRows(report: ChargebackReport, options: TableOptions): string {
  const first = report.rows[0];
  if (first === undefined) return 'No request was settled in this period.';
  const names = Object.keys(first.dimensions).filter((name) => isShown(name, report));
  const withIdle = report.idlePolicy !== 'separate';
  const head = [
    ...names,
    'requests',
    'failed',
    'tokens',
    'GPU s',
    'cost $',
    ...(withIdle ? ['idle $'] : []),
    'amount $',
  ];
  const table = createTable(
    [...head, '$/1M in', '$/1M out', withIdle ? '$/1M with idle' : '$/1M all'],
    names.length,
    options,
  );
  const rows: readonly ReportRow[] = report.rows;
  for (const row of rows) {
    table.push([
      ...names.map((name) => clean(row.dimensions[name] ?? '–')),
      formatCount(row.metrics.requests),
      formatCount(row.metrics.failedRequests),
      formatCount(sumTokens(row.metrics)),
      formatScaled((row.metrics.gpuMicros + 500n) / 1000n, 3),
      formatFine(row.metrics.costNanoUsd),
      ...(withIdle ? [formatFine(row.idleShareNanoUsd)] : []),
      formatScaled(row.amountCents, 2),
      formatPrice(row.unitPrices.input),
      formatPrice(row.unitPrices.output),
      formatPrice(withIdle ? row.unitPrices.blendedWithIdle : row.unitPrices.blended),
    ]);
  }
  if (rows.length > 1) table.push(renderSum(rows, { names: names.length, withIdle }));
  return table.toString();
}

/** A cost centre nobody has would be a column of dashes. */
function isShown(name: string, { rows, groupBy }: ChargebackReport): boolean {
  return groupBy.some((asked) => asked === name) || rows.some(({ dimensions }) => dimensions[name] !== null);
}

function renderSum(rows: readonly ReportRow[], { names, withIdle }: { names: number; withIdle: boolean }): string[] {
  const sum = (read: (row: ReportRow) => bigint) => rows.reduce((total, row) => total + read(row), 0n);
  return [
    ...Array.from({ length: names }, (_, index) => (index === 0 ? 'total' : '')),
    formatCount(sum(({ metrics }) => metrics.requests)),
    formatCount(sum(({ metrics }) => metrics.failedRequests)),
    formatCount(sum(({ metrics }) => sumTokens(metrics))),
    formatScaled((sum(({ metrics }) => metrics.gpuMicros) + 500n) / 1000n, 3),
    formatFine(sum(({ metrics }) => metrics.costNanoUsd)),
    ...(withIdle ? [formatFine(sum((row) => row.idleShareNanoUsd))] : []),
    formatScaled(
      sum((row) => row.amountCents),
      2,
    ),
    '',
    '',
    '',
  ];
}

function renderBill({ pools, totals }: ChargebackReport, options: TableOptions): string {
  if (pools.length === 0) return 'No GPU capacity was booked in this period.';
  const table = createTable(
    [
      'deployment',
      'GPU',
      '$/GPU h',
      'GPU h',
      'bill $',
      'charged $',
      'idle $',
      'of it unavailable',
      'unobserved',
      'pending $',
    ],
    2,
    options,
  );
  for (const pool of pools) {
    table.push([
      clean(pool.deployment),
      clean(pool.gpu),
      pool.prices.map(({ nanoUsdPerGpuHour }) => formatUsdShortest(nanoUsdPerGpuHour)).join(' → '),
      formatScaled((pool.capacityGpuMicros + 1_800_000n) / 3_600_000n, 3),
      formatFine(pool.capacityNanoUsd),
      formatFine(pool.chargedNanoUsd),
      formatFine(pool.idleNanoUsd),
      formatFine(pool.unavailableNanoUsd),
      formatFine(pool.unobservedNanoUsd),
      formatFine(pool.pendingNanoUsd),
    ]);
  }
  const unshared = `Idle given to nobody: $${formatFine(totals.unsharedNanoUsd)} of $${formatFine(totals.idleNanoUsd)}.`;
  return `${table.toString()}\n${unshared}`;
}

function renderSaving({ model, baseline, ...saving }: ChargebackReport['savings'][number]): string {
  const baselineUsd = formatUsdShortest(saving.baselineNanoUsd);
  if (saving.measuredNanoUsd === null || saving.avoidedNanoUsd === null) {
    return `${clean(model)}: no tokens yet to compare with ${clean(baseline)} ($${baselineUsd} per 1M tokens).`;
  }
  const factor = saving.factorTenths === null ? '' : `, ${formatScaled(saving.factorTenths, 1)} times the price`;
  const measured = `${clean(model)}: $${formatPrice(saving.measuredNanoUsd)} per 1M tokens, idle included`;
  return `${measured}; ${clean(baseline)}: $${baselineUsd}${factor}; $${formatCents(saving.avoidedNanoUsd)} avoided.`;
}

function renderDifference({ totals }: ChargebackReport, paint: Paint): string {
  const { differenceNanoUsd, capacityNanoUsd, chargedNanoUsd, idleNanoUsd, unmeteredNanoUsd } = totals;
  const unmetered = unmeteredNanoUsd === 0n ? '' : ` + unmetered $${formatFine(unmeteredNanoUsd)}`;
  const parts = `bill $${formatFine(capacityNanoUsd)} = charged $${formatFine(chargedNanoUsd)} + idle $${formatFine(idleNanoUsd)}`;
  const balanced = differenceNanoUsd === 0n;
  return paint(balanced ? 'green' : 'red', `Books: ${parts}${unmetered}; difference ${differenceNanoUsd} nanodollars.`);
}

function renderSettled({ settledThrough, complete }: ChargebackReport, paint: Paint): string {
  if (settledThrough === null) return paint('yellow', 'Nothing is settled yet: no gateway has joined these books.');
  const text = `Settled through ${formatSecond(settledThrough)}`;
  return complete ? paint('green', `${text}: complete.`) : paint('yellow', `${text}: later figures are still to come.`);
}

/** Dollars with six decimals, half up. */
function formatFine(nanoUsd: bigint): string {
  const magnitude = ((nanoUsd < 0n ? -nanoUsd : nanoUsd) + 500n) / 1000n;
  return formatScaled(nanoUsd < 0n ? -magnitude : magnitude, 6);
}

/** Dollars per million tokens with four decimals; a dash without tokens. */
function formatPrice(nanoUsd: bigint | null): string {
  return nanoUsd === null ? '–' : formatScaled((nanoUsd + 50_000n) / 100_000n, 4);
}

/** `1234567n` → `1 234 567`. */
function formatCount(count: bigint): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ' ');
}

/** Names come from requests and files: control characters must not reach a terminal. */
function clean(text: string): string {
  return text.replace(/\p{Cc}/gu, '�');
}
