// GET /api/reports/chargeback and GET /api/usage: the reports room over HTTP.
import type { Config } from '#config/config.ts';
import type { BooksReader } from '#domain/books.ts';
import type { Clock } from '#domain/clock.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { formatSecond } from '#domain/window.ts';
import { computeChargeback } from '#reports/chargeback.ts';
import { parseGroupBy } from '#reports/dimensions.ts';
import { countUnsettled } from '#reports/outstanding.ts';
import { readReportSource } from '#reports/read-report.ts';
import { toReportJson, toRowJson } from '#reports/render-json.ts';
import { parsePeriod } from '#reports/report-period.ts';
import type { ChargebackReport } from '#reports/report-shape.ts';
import { parseReportRequest } from '#reports/report-request.ts';
import { parseGranularity, readUsage } from '#reports/usage.ts';
import type { RequestHandler } from 'express';
import { readQuery } from './read-query.ts';

export interface ReportRoutesOptions {
  readonly books: BooksReader;
  readonly clock: Clock;
  /** The config in force. */
  readonly config: () => Config;
  /** Finished records of this gateway that are not settled yet, in any order; null where not all are known. */
  readonly unsettled: () => readonly UsageRecord[] | Promise<readonly UsageRecord[] | null>;
}

/** The report of contract §6 as JSON, or CSV or text by `format`. */
export function createReportRoute({ books, clock, config, unsettled }: ReportRoutesOptions): RequestHandler {
  return async (req, res) => {
    const query = readQuery(req, ['month', 'from', 'to', 'groupBy', 'timezone', 'format', 'idle', 'basis', 'team']);
    const request = parseReportRequest({ ...query, format: query.format ?? 'json' }, clock.epochMs());
    // Before the books: a request that settles in between is counted twice rather than not at all.
    const records = await unsettled();
    const unsettledRequests = records === null ? null : countUnsettled(records, request.period);
    const source = await readReportSource(books, request.period, request.groupBy);
    const nowMs = clock.epochMs();
    const report = computeChargeback({ ...request, source, config: config(), nowMs, unsettledRequests });
    if (request.format === 'json') res.json(toReportJson(report));
    else if (request.format === 'csv') res.type('text/csv').send(await toCsv(report));
    else res.type('text/plain').send(await toText(report));
  };
}

/** What draws tables is loaded by the first request for one: most gateways are asked for JSON alone. */
async function toText(report: ChargebackReport): Promise<string> {
  const { renderTable } = await import('#reports/render-table.ts');
  return renderTable(report, { color: false });
}

/** Loaded likewise. */
async function toCsv(report: ChargebackReport): Promise<string> {
  const { renderCsv } = await import('#reports/render-csv.ts');
  return renderCsv(report);
}

/** Buckets of usage; whole UTC hours, days or months that overlap the period. */
export function createUsageRoute({ books, clock, config }: Omit<ReportRoutesOptions, 'unsettled'>): RequestHandler {
  return async (req, res) => {
    const query = readQuery(req, ['from', 'to', 'groupBy', 'granularity', 'team']);
    const usage = await readUsage({
      books,
      config: config(),
      granularity: parseGranularity(query.granularity ?? 'day'),
      groupBy: parseGroupBy(query.groupBy ?? 'team'),
      period: parsePeriod({ from: query.from, to: query.to }, clock.epochMs()),
      team: query.team ?? null,
    });
    res.json({
      settledThrough: usage.settledThrough === null ? null : formatSecond(usage.settledThrough),
      buckets: usage.buckets.map(({ start, end, row }) => ({
        start: formatSecond(start),
        end: formatSecond(end),
        ...toRowJson(row),
      })),
    });
  };
}
