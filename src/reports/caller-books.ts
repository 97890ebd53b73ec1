// A team's own view of the books, for callers of the data plane: its requests, usage and budget, never another team's.
import type { BooksReader } from '#domain/books.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { formatSecond, SECONDS_PER_HOUR } from '#domain/window.ts';
import type { BudgetConfig, Config } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import { parseGroupBy } from './dimensions.ts';
import { type RecordJson, toSettledRecordJson, toUnsettledRecordJson } from './record-json.ts';
import { toRowJson } from './render-json.ts';
import { ReportParameterError } from './report-error.ts';
import { parsePeriod } from './report-period.ts';
import { instantOf, offsetAt, parseTimeZone, type TimeZone } from './time-zone.ts';
import { parseGranularity, readUsage } from './usage.ts';

export interface CallerBooksOptions {
  readonly books: BooksReader;
  readonly clock: Clock;
  /** The config in force. */
  readonly config: () => Pick<Config, 'teams'>;
  /** Finished records of this gateway that are not settled yet. */
  readonly unsettled: (sought: SoughtRequest) => readonly UsageRecord[] | Promise<readonly UsageRecord[]>;
}

/** Which request: one team's, by the gateway's or the client's id. */
export interface SoughtRequest {
  readonly team: string;
  readonly id: string;
}

/** True for an attempt of that request. */
export function isSought(record: UsageRecord, { team, id }: SoughtRequest): boolean {
  return record.team === team && (record.requestId === id || record.clientRequestId === id);
}

/** An answer, or in words why there is none. */
export type OwnBooksAnswer<Body> =
  | { readonly kind: 'found'; readonly body: Body }
  | { readonly kind: 'bad'; readonly bad: { readonly parameter: string; readonly problem: string } }
  | { readonly kind: 'unavailable' };

interface OwnRecord {
  readonly attempt: number;
  readonly settled: boolean;
  readonly json: RecordJson;
}

/** Attempts of one request are few; a client that gives one id to everything sees the newest. */
const MAX_RECORDS = 100;

/** Reads for one team at a time; nothing here rejects but on our own faults. */
export class CallerBooks {
  readonly #options: CallerBooksOptions;

  constructor(options: CallerBooksOptions) {
    this.#options = options;
  }

  /** All attempts of a request by the gateway's or the client's id, oldest first; empty where the team has none. */
  findRequests(team: string, id: string): Promise<OwnBooksAnswer<readonly OwnRecord[]>> {
    const { books, unsettled } = this.#options;
    return answer(async () => {
      const waiting = (await unsettled({ team, id })).slice(-MAX_RECORDS);
      // After the books: a record that settles in between is found in one of the two.
      const settled = await books.readRecords({ team, requestId: id, limit: MAX_RECORDS });
      const known = new Set(settled.records.map(({ recordId }) => recordId));
      return [
        ...settled.records.map((record) => ({ record, settled: true, json: toSettledRecordJson(record) })),
        ...waiting
          .filter(({ recordId }) => !known.has(recordId))
          .map((record) => ({ record, settled: false, json: toUnsettledRecordJson(record) })),
      ]
        .toSorted(
          (left, right) =>
            left.record.startedAtMs - right.record.startedAtMs || left.record.attempt - right.record.attempt,
        )
        .map(({ record, ...rest }) => ({ ...rest, attempt: record.attempt }));
    });
  }

  /** `{"settledThrough","buckets"}` as `/api/usage`, of this team; grouped by model and by day unless asked otherwise. */
  readUsage(
    team: string,
    query: Readonly<Record<'from' | 'to' | 'groupBy' | 'granularity', string | undefined>>,
  ): Promise<OwnBooksAnswer<unknown>> {
    const { books, clock, config } = this.#options;
    return answer(async () => {
      const usage = await readUsage({
        books,
        config: config(),
        granularity: parseGranularity(query.granularity ?? 'day'),
        groupBy: parseGroupBy(query.groupBy ?? 'model'),
        period: parsePeriod({ from: query.from, to: query.to }, clock.epochMs()),
        team,
      });
      return {
        settledThrough: usage.settledThrough === null ? null : formatSecond(usage.settledThrough),
        buckets: usage.buckets.map(({ start, end, row }) => ({
          start: formatSecond(start),
          end: formatSecond(end),
          ...toRowJson(row),
        })),
      };
    });
  }

  /**
   * The limit of the present period and what is settled of it so far, nanodollars as decimal strings; null without a budget. Cost that
   * is not settled yet is not in it.
   */
  readBudget(team: string): Promise<OwnBooksAnswer<unknown>> {
    const { books, clock, config } = this.#options;
    const budget = config().teams.find(({ name }) => name === team)?.budget;
    if (budget === undefined) return Promise.resolve({ kind: 'found', body: null });
    return answer(async () => {
      const now = Math.floor(clock.epochMs() / 1000);
      const span = findPeriod(budget, now);
      const cells = await books.readRollups(
        { from: floorHour(span.from), to: floorHour(now) + SECONDS_PER_HOUR },
        'hour',
      );
      const spent = cells.reduce((sum, cell) => (cell.team === team ? sum + cell.metrics.costNanoUsd : sum), 0n);
      return {
        limitNanoUsd: String(budget.limitNanoUsd),
        spentNanoUsd: String(spent),
        period: budget.period,
        timezone: budget.timezone,
        onExceed: budget.onExceed,
        // Nothing is refused by a budget in this version; a caller must not count on it.
        enforced: false,
        start: formatSecond(span.from),
        resetsAt: formatSecond(span.to),
      };
    });
  }
}

async function answer<Body>(read: () => Promise<Body>): Promise<OwnBooksAnswer<Body>> {
  try {
    return { kind: 'found', body: await read() };
  } catch (error) {
    if (error instanceof StoreUnavailableError) return { kind: 'unavailable' };
    if (!(error instanceof ReportParameterError)) throw error;
    const { parameter, expectation: problem } = error;
    return { kind: 'bad', bad: { parameter, problem } };
  }
}

/** The calendar day, week (from Monday) or month around an instant, in the budget's zone. Epoch seconds. */
export function findPeriod(
  budget: Pick<BudgetConfig, 'period' | 'timezone'>,
  now: number,
): { readonly from: number; readonly to: number } {
  const zone: TimeZone = parseTimeZone(budget.timezone);
  const local = new Date((now + offsetAt(now, zone)) * 1000);
  const today = { year: local.getUTCFullYear(), month: local.getUTCMonth() + 1, day: local.getUTCDate(), hour: 0 };
  if (budget.period === 'month') {
    const first = { ...today, day: 1 };
    return { from: instantOf(first, zone), to: instantOf({ ...first, month: first.month + 1 }, zone) };
  }
  const days = budget.period === 'week' ? 7 : 1;
  const sinceMonday = budget.period === 'week' ? (local.getUTCDay() + 6) % 7 : 0;
  const first = { ...today, day: today.day - sinceMonday };
  return { from: instantOf(first, zone), to: instantOf({ ...first, day: first.day + days }, zone) };
}

function floorHour(epochSeconds: number): number {
  return Math.floor(epochSeconds / SECONDS_PER_HOUR) * SECONDS_PER_HOUR;
}
