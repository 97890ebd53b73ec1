// The table of the benchmark and its JSON. Not here: the figures (run-matrix.ts), the verdict (accuracy-targets.ts).
import Table from 'cli-table3';
import { accuracyTargets, failsRun, missedTargets } from './accuracy-targets.ts';
import type { Cell } from './run-matrix.ts';

/** One table per engine and load. */
export function renderTables(cells: readonly Cell[]): string {
  const groups = new Map<string, Cell[]>();
  for (const cell of cells) {
    const title = `${cell.engine}, ${cell.load}: ${cell.charges.requests} requests`;
    const key = [...groups.keys()].find((known) => known.startsWith(`${cell.engine}, ${cell.load}:`)) ?? title;
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups].map(([title, group]) => `${title}\n${renderTable(group)}`).join('\n\n');
}

/** Targets, and how many cells that are held to them miss one. */
export function renderVerdict(cells: readonly Cell[]): string {
  const held = cells.filter((cell) => cell.held);
  const failed = cells.filter(failsRun);
  const { median, p95, worstTeam, idle } = accuracyTargets;
  const targets = `median ≤ ${percent(median)}, p95 ≤ ${percent(p95)}, worst team ≤ ${percent(worstTeam)}, idle ≤ ${percent(idle)}, books exact`;
  const names = failed.map(
    (cell) => `  ${cell.engine}, ${cell.load}, ${cell.watchers}, ${cell.method}: ${missedTargets(cell).join(', ')}`,
  );
  return [`Targets: ${targets}`, `${held.length} cells are held to them, ${failed.length} cells fail`, ...names].join(
    '\n',
  );
}

/** Machine-readable; bigints as decimal strings. */
export function renderJson(cells: readonly Cell[]): string {
  const rows = cells.map((cell) => ({ ...cell, missed: missedTargets(cell), fails: failsRun(cell) }));
  return JSON.stringify(
    { targets: accuracyTargets, cells: rows },
    (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
    2,
  );
}

function renderTable(cells: readonly Cell[]): string {
  const table = new Table({
    head: [
      'watched by',
      'method',
      'median',
      'p95',
      'worst team',
      'idle',
      'residual ms',
      'books nano$',
      'late',
      'missed',
    ],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
  });
  for (const cell of cells) {
    const { charges, books } = cell;
    table.push([
      cell.watchers,
      cell.method,
      percent(charges.median),
      percent(charges.p95),
      `${charges.worstTeam.team} ${signed(charges.worstTeam.error)}`,
      books === null ? '–' : signed(books.idleError, 2),
      books === null ? '–' : (Number(books.residualGpuMicros) / 1000).toString(),
      books === null ? '–' : books.differenceNanoUsd.toString(),
      books === null ? '–' : books.late.toString(),
      cell.watchers === 'naive' ? '' : missedTargets(cell).join(' '),
    ]);
  }
  return table.toString();
}

function percent(fraction: number, digits = 1): string {
  return `${(fraction * 100).toFixed(digits)} %`;
}

function signed(fraction: number, digits = 1): string {
  return `${fraction < 0 ? '−' : '+'}${percent(Math.abs(fraction), digits)}`;
}
