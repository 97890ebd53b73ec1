import { describe, expect, it } from 'vitest';
import type { BudgetConfig, TeamConfig } from '#config/config.ts';
import type { BooksReader } from '#domain/books.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { CallerBooks, findPeriod, isSought } from '#reports/caller-books.ts';
import { RECORD } from '../observe/sample-record.ts';
import { createCell, createFixedBooks, createReportConfig, NOVEMBER } from './sample-books.ts';

const OWN_RECORD: UsageRecord = { ...RECORD, clientRequestId: 'mine-1' };
const budget: BudgetConfig = { limitNanoUsd: 500n, period: 'month', timezone: 'UTC', onExceed: 'block' };
const nowMs = (NOVEMBER + 86_400) * 1000;

function open(
  parts: {
    readonly books?: BooksReader;
    readonly unsettled?: readonly UsageRecord[];
    readonly budget?: BudgetConfig;
  } = {},
): CallerBooks {
  const { teams } = createReportConfig();
  const withBudget = teams.map((team): TeamConfig =>
    parts.budget === undefined ? team : { ...team, budget: parts.budget },
  );
  return new CallerBooks({
    books: parts.books ?? createFixedBooks(),
    clock: { epochMs: () => nowMs, monotonicMs: () => 0, toEpochMs: (ms) => ms },
    config: () => ({ teams: withBudget }),
    unsettled: (sought) => (parts.unsettled ?? []).filter((record) => isSought(record, sought)),
  });
}

const unreachable = (): BooksReader => {
  const fail = () => Promise.reject(new StoreUnavailableError('gone'));
  const vouchers = { readVouchers: fail, readLateClaims: fail };
  return { readStatus: fail, readFacts: fail, readRollups: fail, readBooks: fail, readRecords: fail, ...vouchers };
};

describe('caller-books', () => {
  it('a record that waits for its money is found by both ids, by its own team alone', async () => {
    const unsettled = [OWN_RECORD];
    const books = open({ unsettled });
    for (const id of [OWN_RECORD.requestId, OWN_RECORD.clientRequestId ?? '']) {
      const answer = await books.findRequests('search', id);
      expect(answer).toMatchObject({
        kind: 'found',
        body: [{ settled: false, json: { costNanoUsd: null, settled: false } }],
      });
    }
    expect(await books.findRequests('ads', OWN_RECORD.requestId)).toEqual({ kind: 'found', body: [] });
    expect(await books.findRequests('search', 'other')).toEqual({ kind: 'found', body: [] });
  });

  it('a record that settled while it was looked for stands there once, as settled', async () => {
    const settled = { ...OWN_RECORD, charges: [] };
    const books = open({ unsettled: [OWN_RECORD], books: createFixedBooks({ records: [settled] }) });
    const answer = await books.findRequests('search', OWN_RECORD.requestId);
    expect(answer).toMatchObject({ kind: 'found', body: [{ settled: true }] });
  });

  it.each([true, false, null])('whether a part of the work came late is said as it is known: %s', async (late) => {
    const settled = { ...OWN_RECORD, late, charges: [] };
    const books = [
      open({ books: createFixedBooks({ records: [settled] }) }),
      open({ unsettled: [{ ...OWN_RECORD, late }], books: createFixedBooks({ records: [] }) }),
    ];
    for (const each of books) {
      const answer = await each.findRequests('search', OWN_RECORD.requestId);
      expect(answer).toMatchObject({ kind: 'found', body: [{ json: { late } }] });
    }
  });

  it('the store is asked for the own team and the one request', async () => {
    const asked: unknown[] = [];
    const fixed = createFixedBooks();
    const books = open({
      books: {
        ...fixed,
        readRecords: (query) => {
          asked.push(query);
          return fixed.readRecords(query);
        },
      },
    });
    await books.findRequests('search', 'r-1');
    expect(asked).toEqual([{ team: 'search', requestId: 'r-1', limit: 100 }]);
  });

  it('attempts of one request come oldest first', async () => {
    const unsettled = [2, 1, 3].map((attempt) => ({ ...OWN_RECORD, attempt, recordId: `r.${attempt}` }));
    const answer = await open({ unsettled }).findRequests('search', OWN_RECORD.requestId);
    expect(answer.kind === 'found' && answer.body.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  });

  it('a store that does not answer is told apart from nothing', async () => {
    const books = open({ books: unreachable(), budget });
    expect([
      await books.findRequests('search', 'x'),
      await books.readUsage('search', { from: undefined, to: undefined, groupBy: undefined, granularity: undefined }),
      await books.readBudget('search'),
    ]).toEqual([{ kind: 'unavailable' }, { kind: 'unavailable' }, { kind: 'unavailable' }]);
  });

  it('spent is what the own team cost since the period began, and nobody is told that a budget refuses anything', async () => {
    const cells = [
      createCell({ start: NOVEMBER - 3600 }, { costNanoUsd: 1n }),
      createCell({ start: NOVEMBER }, { costNanoUsd: 20n }),
      createCell({ start: NOVEMBER + 86_400 }, { costNanoUsd: 300n }),
      createCell({ start: NOVEMBER, team: 'ads' }, { costNanoUsd: 4000n }),
    ];
    expect(await open({ books: createFixedBooks({ cells }), budget }).readBudget('search')).toEqual({
      kind: 'found',
      body: {
        limitNanoUsd: '500',
        spentNanoUsd: '320',
        period: 'month',
        timezone: 'UTC',
        onExceed: 'block',
        enforced: false,
        start: '2026-11-01T00:00:00Z',
        resetsAt: '2026-12-01T00:00:00Z',
      },
    });
    expect(await open().readBudget('search')).toEqual({ kind: 'found', body: null });
  });

  const at = (text: string): number => Date.parse(text) / 1000;
  it.each<[BudgetConfig['period'], string, string, string, string]>([
    ['day', 'UTC', '2026-11-22T23:59:59Z', '2026-11-22T00:00:00Z', '2026-11-23T00:00:00Z'],
    ['week', 'UTC', '2026-11-22T23:59:59Z', '2026-11-16T00:00:00Z', '2026-11-23T00:00:00Z'],
    ['week', 'UTC', '2026-11-23T00:00:00Z', '2026-11-23T00:00:00Z', '2026-11-30T00:00:00Z'],
    ['week', 'UTC', '2026-12-31T12:00:00Z', '2026-12-28T00:00:00Z', '2027-01-04T00:00:00Z'],
    ['month', 'UTC', '2026-12-31T12:00:00Z', '2026-12-01T00:00:00Z', '2027-01-01T00:00:00Z'],
    ['month', 'Europe/Berlin', '2026-10-31T23:30:00Z', '2026-10-31T23:00:00Z', '2026-11-30T23:00:00Z'],
    ['day', 'Europe/Berlin', '2026-10-25T12:00:00Z', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'],
    ['week', 'America/New_York', '2026-03-08T12:00:00Z', '2026-03-02T05:00:00Z', '2026-03-09T04:00:00Z'],
  ])('a budget of a %s in %s at %s runs from %s to %s', (period, timezone, now, from, to) => {
    expect(findPeriod({ period, timezone }, at(now))).toEqual({ from: at(from), to: at(to) });
  });
});
