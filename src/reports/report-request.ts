// The parameters of a report as the CLI and the admin plane share them: from text to a checked request.
import type { Dimension } from './dimensions.ts';
import { parseGroupBy } from './dimensions.ts';
import { parseIdlePolicy } from './idle-policy.ts';
import { ReportParameterError } from './report-error.ts';
import { parsePeriod } from './report-period.ts';
import type { PeriodRequest, ReportPeriod } from './report-period.ts';
import type { Basis, IdlePolicy } from './report-shape.ts';

export interface ReportArguments extends PeriodRequest {
  readonly groupBy?: string | undefined;
  readonly team?: string | undefined;
  readonly idle?: string | undefined;
  readonly basis?: string | undefined;
  readonly format?: string | undefined;
}

export type ReportFormat = 'table' | 'csv' | 'json';

export interface ReportRequest {
  readonly period: ReportPeriod;
  readonly groupBy: readonly Dimension[];
  readonly team: string | null;
  readonly idlePolicy: IdlePolicy;
  readonly basis: Basis;
  readonly format: ReportFormat;
}

/** Throws a ReportParameterError naming the first parameter that cannot be used. */
export function parseReportRequest(args: ReportArguments, nowMs: number): ReportRequest {
  return {
    basis: parseBasis(args.basis ?? 'actual'),
    format: parseFormat(args.format ?? 'table'),
    groupBy: parseGroupBy(args.groupBy ?? 'team,model'),
    team: args.team === undefined || args.team === '' ? null : args.team,
    idlePolicy: parseIdlePolicy(args.idle ?? 'separate'),
    period: parsePeriod(args, nowMs),
  };
}

function parseFormat(text: string): ReportFormat {
  if (text === 'table' || text === 'csv' || text === 'json') return text;
  if (text === 'html' || text === 'focus') {
    throw new ReportParameterError('format', `${text} comes with a later version; use table, csv or json`);
  }
  throw new ReportParameterError('format', `must be table, csv or json; got "${text}"`);
}

function parseBasis(text: string): Basis {
  if (text === 'actual' || text === 'standard') return text;
  throw new ReportParameterError('basis', `must be actual or standard; got "${text}"`);
}
