// The report for a terminal: rows, where the rest of the bill went, savings, and whether the books balance.
import { formatScaled, formatUsdShortest } from '#domain/nano-usd.ts';
import { formatSecond } from '#domain/window.ts';
import CliTable from 'cli-table3';
import { styleText } from 'node:util';
import { sumTokens } from './metric-sums.ts';
import { formatCents } from './render-json.ts';
import type { ChargebackReport, ReportPool, ReportRow } from './report-shape.ts';

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
    paint(
      'bold',
      `Chargeback ${period}${who}, idle ${report.idlePolicy}${report.basis === 'standard' ? ', standard prices' : ''}`,
    ),
    renderRows(report, options),
    renderBill(report, options),
    ...renderRateCard(report.standard),
    ...report.corrections.map(renderCorrection),
    ...report.savings.map(renderSaving),
    ...renderOutstanding(report),
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

/** One column over items of a kind; `total` is its cell under the sum of all. */
interface Column<T> {
  readonly head: string;
  readonly text?: true;
  readonly read: (item: T) => string;
  readonly total?: string;
}

function drawTable<T>(columns: readonly Column<T>[], items: readonly T[], { color }: TableOptions): string {
  const table = new CliTable({
    head: columns.map(({ head }) => head),
    colAligns: columns.map(({ text }) => (text === true ? 'left' : 'right')),
    style: { compact: true, ...(color ? { head: ['cyan'], border: ['gray'] } : { head: [], border: [] }) },
  });
  for (const item of items) table.push(columns.map(({ read }) => read(item)));
  if (items.length > 1 && columns.some(({ total }) => total !== undefined)) {
    table.push(columns.map(({ total }) => total ?? ''));
  }
  return table.toString();
}

function renderRows(report: ChargebackReport, options: TableOptions): string {
  if (report.rows.length === 0) return 'No request was settled in this period.';
  return drawTable(
    [...dimensionColumns(report), ...figureColumns(report), ...priceColumns(report)],
    report.rows,
    options,
  );
}

/** Only what was asked for: the cost centre that follows a team in JSON would make the table too wide for a terminal. */
function dimensionColumns({ groupBy }: ChargebackReport): readonly Column<ReportRow>[] {
  return groupBy.map((name, index) => ({
    head: name,
    text: true,
    read: (row) => clean(row.dimensions[name] ?? '–'),
    ...(index === 0 ? { total: 'total' } : {}),
  }));
}

function figureColumns({ rows, idlePolicy }: ChargebackReport): readonly Column<ReportRow>[] {
  const column = (
    head: string,
    figure: (row: ReportRow) => bigint,
    format: (value: bigint) => string,
  ): Column<ReportRow> => ({
    head,
    read: (row) => format(figure(row)),
    total: format(rows.reduce((sum, row) => sum + figure(row), 0n)),
  });
  const corrected = rows.some(({ correctionNanoUsd }) => correctionNanoUsd !== 0n);
  const failed = rows.some(({ metrics }) => metrics.failedRequests > 0n);
  return [
    column('requests', ({ metrics }) => metrics.requests, formatCount),
    ...(failed ? [column('failed', ({ metrics }) => metrics.failedRequests, formatCount)] : []),
    column('tokens', ({ metrics }) => sumTokens(metrics), formatCount),
    column('GPU s', ({ metrics }) => metrics.gpuMicros, formatMillis),
    column('cost $', ({ metrics }) => metrics.costNanoUsd, formatFine),
    ...(corrected ? [column('corrections $', ({ correctionNanoUsd }) => correctionNanoUsd, formatFine)] : []),
    ...(idlePolicy === 'separate' ? [] : [column('idle $', ({ idleShareNanoUsd }) => idleShareNanoUsd, formatFine)]),
    column(
      'amount $',
      ({ amountCents }) => amountCents,
      (cents) => formatScaled(cents, 2),
    ),
  ];
}

function priceColumns({ idlePolicy }: ChargebackReport): readonly Column<ReportRow>[] {
  return [
    { head: '$/1M in', read: ({ unitPrices }) => formatPrice(unitPrices.input) },
    { head: '$/1M out', read: ({ unitPrices }) => formatPrice(unitPrices.output) },
    idlePolicy === 'separate'
      ? { head: '$/1M all', read: ({ unitPrices }) => formatPrice(unitPrices.blended) }
      : { head: '$/1M with idle', read: ({ unitPrices }) => formatPrice(unitPrices.blendedWithIdle) },
  ];
}

function renderBill({ pools, totals }: ChargebackReport, options: TableOptions): string {
  if (pools.length === 0) return 'No GPU capacity was booked in this period.';
  const money = (head: string, read: (pool: ReportPool) => bigint): Column<ReportPool> => ({
    head,
    read: (pool) => formatFine(read(pool)),
    total: formatFine(pools.reduce((sum, pool) => sum + read(pool), 0n)),
  });
  const rare = [
    money('of it unavailable', ({ unavailableNanoUsd }) => unavailableNanoUsd),
    money('unobserved', ({ unobservedNanoUsd }) => unobservedNanoUsd),
    money('unmetered $', ({ unmeteredNanoUsd }) => unmeteredNanoUsd),
    money('pending $', ({ pendingNanoUsd }) => pendingNanoUsd),
  ].filter(({ read }) => pools.some((pool) => read(pool) !== formatFine(0n)));
  const columns: readonly Column<ReportPool>[] = [
    {
      head: 'deployment',
      text: true,
      read: ({ deployment, pooled }) => `${clean(deployment)}${pooled ? ' (pooled)' : ''}`,
      total: 'total',
    },
    { head: 'GPU', text: true, read: ({ gpu }) => clean(gpu) },
    {
      head: '$/GPU h',
      read: ({ prices }) => prices.map((price) => formatUsdShortest(price.nanoUsdPerGpuHour)).join(' → '),
    },
    { head: 'GPU h', read: ({ capacityGpuMicros }) => formatScaled((capacityGpuMicros + 1_800_000n) / 3_600_000n, 3) },
    money('bill $', ({ capacityNanoUsd }) => capacityNanoUsd),
    money('charged $', ({ chargedNanoUsd }) => chargedNanoUsd),
    money('idle $', ({ idleNanoUsd }) => idleNanoUsd),
    ...rare,
  ];
  const unshared = `Idle given to nobody: $${formatFine(totals.unsharedNanoUsd)} of $${formatFine(totals.idleNanoUsd)}.`;
  return `${drawTable(columns, pools, options)}\n${unshared}`;
}

function renderRateCard(standard: ChargebackReport['standard']): readonly string[] {
  if (standard === null) return [];
  const { load, rates, varianceNanoUsd } = standard;
  const perMillion = (nanoUsd: bigint): string => `$${formatPrice(nanoUsd)}`;
  return [
    `Standard prices at ${load.concurrency} sequences of ${load.contextTokens} tokens side by side; what the period really cost differs by $${formatFine(varianceNanoUsd)}, the line (variance).`,
    ...rates.map(
      ({ model, deployment, input, output, profileSource }) =>
        `  ${clean(model)} on ${clean(deployment)}: ${perMillion(input)} per 1M in, ${perMillion(output)} per 1M out (${profileSource} profile)`,
    ),
  ];
}

function renderCorrection(line: ChargebackReport['corrections'][number]): string {
  const amount = `${line.nanoUsd > 0n ? '+' : ''}${formatFine(line.nanoUsd)}`;
  const where = [line.team, line.project, line.model, line.deployment].filter((name) => name !== '').join(', ');
  const who = `${line.reason} (${line.author}, for ${line.corrects})`;
  return `Correction ${formatSecond(line.at).slice(0, 10)}: ${amount} $ ${clean(where)}: ${clean(who)}`;
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

/** One line each for what waits, what came late and what is nobody's; nothing where there is none. */
function renderOutstanding({ outstanding }: ChargebackReport): readonly string[] {
  const { pendingNanoUsd, unfrozenSeconds, unsettledRequests, lateNanoUsd, lateWindowsOfAllPeriods } = outstanding;
  const requests = countOf(unsettledRequests, 'finished request', 'finished requests');
  const waiting = requests === '' ? '' : `${requests} at this gateway without a cost yet`;
  const unfrozen = countOf(unfrozenSeconds, 'second', 'seconds');
  const pending = [
    pendingNanoUsd === 0n ? '' : `$${formatFine(pendingNanoUsd)} charged to work whose team is not booked yet`,
    waiting,
    unfrozen === '' ? '' : `${unfrozen} of the period not frozen yet`,
  ];
  const windows = countOf(lateWindowsOfAllPeriods, 'window', 'windows');
  const late = [
    lateNanoUsd === 0n ? '' : `$${formatFine(lateNanoUsd)} claimed after its month was closed, here as corrections`,
    windows === ''
      ? ''
      : `${windows} of work, in all periods together, that came after being frozen: tokens counted, cost $${formatFine(0n)}`,
  ];
  const { unattributedNanoUsd } = outstanding;
  const lost = `$${formatFine(unattributedNanoUsd)}, corrections included, for work that nobody can be named for`;
  const lines = [
    ['Pending', pending],
    ['Late', late],
    ['Unattributed', unattributedNanoUsd === 0n ? [] : [lost]],
  ] as const;
  return lines.flatMap(([head, parts]) => {
    const said = parts.filter((part) => part !== '');
    return said.length === 0 ? [] : [`${head}: ${said.join('; ')}.`];
  });
}

/** `3 windows`; empty for none and for what is not known. */
function countOf(count: number | null, one: string, many: string): string {
  if (count === null || count === 0) return '';
  return `${formatCount(BigInt(count))} ${count === 1 ? one : many}`;
}

function renderDifference({ totals }: ChargebackReport, paint: Paint): string {
  const { differenceNanoUsd, capacityNanoUsd, chargedNanoUsd, idleNanoUsd, unmeteredNanoUsd } = totals;
  const unmetered = unmeteredNanoUsd === 0n ? '' : ` + unmetered $${formatFine(unmeteredNanoUsd)}`;
  const parts = `bill $${formatFine(capacityNanoUsd)} = charged $${formatFine(chargedNanoUsd)} + idle $${formatFine(idleNanoUsd)}`;
  const balanced = differenceNanoUsd === 0n;
  return paint(balanced ? 'green' : 'red', `Books: ${parts}${unmetered}; difference ${differenceNanoUsd} nanodollars.`);
}

function renderSettled({ settledThrough, complete, periodStatus, ledgerHash }: ChargebackReport, paint: Paint): string {
  if (periodStatus === 'closed') return paint('green', `Closed: final, ledger hash ${ledgerHash ?? ''}.`);
  if (settledThrough === null) return paint('yellow', 'Nothing is settled yet: no gateway has joined these books.');
  const text = `Settled through ${formatSecond(settledThrough)}`;
  return complete ? paint('green', `${text}: complete.`) : paint('yellow', `${text}: later figures are still to come.`);
}

/** GPU microseconds as seconds with three decimals. */
function formatMillis(gpuMicros: bigint): string {
  return formatScaled((gpuMicros + 500n) / 1000n, 3);
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

/** Names come from requests and files: control characters, and what ends lines or turns their direction, must not reach a terminal. */
function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]/gu, '�');
}
