// How long a month's chargeback takes, read and computed as the report command does. Not here: what the store holds (rollup-load.ts).
import { computeChargeback } from '#reports/chargeback.ts';
import { readReportSource } from '#reports/read-report.ts';
import { parseReportRequest } from '#reports/report-request.ts';
import { renderJson } from '#reports/render-json.ts';
import type { OpenedStore } from '#store/open-store.ts';

export interface ChargebackTime {
  readonly groupBy: string;
  readonly rows: number;
  readonly cells: number;
  /** Milliseconds, the median of the repetitions. */
  readonly readMs: number;
  readonly computeMs: number;
  readonly renderMs: number;
  readonly totalMs: number;
}

/** Asks for a whole past month (`2026-10`) a few times. */
export async function measureChargeback(
  store: OpenedStore,
  ask: { readonly month: string; readonly groupBy: string; readonly repetitions: number; readonly nowMs: number },
): Promise<ChargebackTime> {
  const times: ChargebackTime[] = [];
  for (let repetition = 0; repetition < ask.repetitions; repetition += 1) times.push(await measureOnce(store, ask));
  const sorted = times.toSorted((a, b) => a.totalMs - b.totalMs);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new RangeError('repetitions must be at least 1');
  return middle;
}

async function measureOnce(
  store: OpenedStore,
  { month, groupBy, nowMs }: { readonly month: string; readonly groupBy: string; readonly nowMs: number },
): Promise<ChargebackTime> {
  const startedAtMs = performance.now();
  const request = parseReportRequest({ month, groupBy }, nowMs);
  const source = await readReportSource(store.books, request.period, request.groupBy);
  const readAtMs = performance.now();
  const report = computeChargeback({ ...request, source, config: { teams: [], deployments: [] }, nowMs });
  const computedAtMs = performance.now();
  renderJson(report);
  const renderedAtMs = performance.now();
  return {
    groupBy,
    rows: report.rows.length,
    cells: source.cells.length,
    readMs: readAtMs - startedAtMs,
    computeMs: computedAtMs - readAtMs,
    renderMs: renderedAtMs - computedAtMs,
    totalMs: renderedAtMs - startedAtMs,
  };
}
