import { describe, expect, test } from 'vitest';
import type { LateClaim } from '#domain/voucher.ts';
import type { BooksStatus, RollupCell } from '#domain/books.ts';
import type { ChargebackRequest } from '#reports/chargeback.ts';
import { countUnsettled } from '#reports/outstanding.ts';
import { toReportJson } from '#reports/render-json.ts';
import { renderTable } from '#reports/render-table.ts';
import { parsePeriod } from '#reports/report-period.ts';
import { RECORD } from '../observe/sample-record.ts';
import {
  computeExample,
  createBook,
  createCell,
  DECEMBER,
  EXAMPLE_BOOK,
  EXAMPLE_CELL,
  EXAMPLE_STATUS,
  NOVEMBER,
} from './sample-books.ts';

interface Parts extends Partial<Pick<ChargebackRequest, 'unsettledRequests' | 'team' | 'groupBy'>> {
  readonly status?: Partial<BooksStatus>;
  readonly pendingNanoUsd?: bigint;
  readonly cells?: readonly RollupCell[];
  readonly lateClaims?: readonly LateClaim[];
}

function compute({ status = {}, pendingNanoUsd = 0n, cells = [], lateClaims = [], ...asked }: Parts = {}) {
  const pending = createBook(
    { hour: NOVEMBER + 3600 },
    { capacityNanoUsd: pendingNanoUsd, chargedNanoUsd: pendingNanoUsd },
  );
  return computeExample(
    {
      cells: [EXAMPLE_CELL, ...cells],
      books: [EXAMPLE_BOOK, pending],
      status: { ...EXAMPLE_STATUS, ...status },
      lateClaims,
    },
    { period: parsePeriod({ month: '2026-11' }, DECEMBER * 1000), ...asked },
  );
}

/** The lines of the table that begin with one of these words. */
function readLines(report: ReturnType<typeof compute>): readonly string[] {
  return renderTable(report, { color: false })
    .split('\n')
    .filter((line) => /^(Pending|Late|Unattributed):/.test(line));
}

const dims = { project: '', keyId: '', model: '', deployment: '' };
const lateClaim: LateClaim = {
  journal: 'j',
  seq: 4,
  hour: NOVEMBER + 7200,
  corrects: Date.parse('2026-10-01T00:00:00Z') / 1000,
  lines: [
    { ...dims, team: 'search', nanoUsd: '2500000' },
    { ...dims, team: '(unattributed)', nanoUsd: '-2500000' },
  ],
};
const nobodys = createCell({ team: '(unattributed)', model: '', deployment: '' }, { costNanoUsd: 4_000_000n });

describe('outstanding', () => {
  test('a report with nothing outstanding has no line about it, and zeros in JSON', () => {
    const report = compute({ unsettledRequests: 0 });
    expect(readLines(report)).toEqual([]);
    expect(toReportJson(report)['outstanding']).toEqual({
      pendingNanoUsd: '0',
      unfrozenSeconds: 0,
      unsettledRequests: 0,
      lateNanoUsd: '0',
      lateWindowsOfAllPeriods: 0,
      unattributedNanoUsd: '0',
    });
  });

  test('what is pending, late and unattributed each have one line with what it amounts to', () => {
    const status = { frontier: DECEMBER - 8, latePublications: 1200 };
    const report = compute({
      status,
      pendingNanoUsd: 1_500_000n,
      unsettledRequests: 1,
      lateClaims: [lateClaim],
      cells: [nobodys],
    });
    expect(readLines(report)).toEqual([
      'Pending: $0.001500 charged to work whose team is not booked yet; 1 finished request at this gateway without a cost yet; 7 seconds of the period not frozen yet.',
      'Late: $0.002500 claimed after its month was closed, here as corrections; 1 200 windows of work, in all periods together, that came after being frozen: tokens counted, cost $0.000000.',
      'Unattributed: $0.001500, corrections included, for work that nobody can be named for.',
    ]);
    expect(toReportJson(report)['outstanding']).toEqual({
      pendingNanoUsd: '1500000',
      unfrozenSeconds: 7,
      unsettledRequests: 1,
      lateNanoUsd: '2500000',
      lateWindowsOfAllPeriods: 1200,
      unattributedNanoUsd: '1500000',
    });
  });

  test('what nobody can be named for is said also where rows do not tell teams apart, and where one team is asked for', () => {
    for (const asked of [{ groupBy: ['model' as const] }, { team: 'search' }]) {
      expect(compute({ ...asked, cells: [nobodys] }).outstanding.unattributedNanoUsd).toBe(4_000_000n);
    }
  });

  test('money taken back from nobody is not called charged', () => {
    expect(readLines(compute({ lateClaims: [lateClaim] })).at(-1)).toBe(
      'Unattributed: $-0.002500, corrections included, for work that nobody can be named for.',
    );
  });

  test.each([
    ['before the period began', NOVEMBER - 100, NOVEMBER - 50, 0],
    ['in the middle of it', NOVEMBER + 99, NOVEMBER + 110.9, 10],
    ['with a frontier before it', NOVEMBER - 100, NOVEMBER + 5, 5],
    ['long after it, with a frontier that stands', DECEMBER - 61, DECEMBER + 9000, 60],
  ])('only seconds of the period that have passed are waited for: %s', (_when, frontier, now, seconds) => {
    const { outstanding } = compute({ status: { frontier, nowMs: now * 1000 } });
    expect(outstanding.unfrozenSeconds).toBe(seconds);
  });

  test('what is not known is null and has no line: no gateway in the books, no gateway asked', () => {
    const report = compute({ status: { frontier: null } });
    expect(report.outstanding).toMatchObject({ unfrozenSeconds: null, unsettledRequests: null });
    expect(readLines(report)).toEqual([]);
  });

  test('requests without a cost are counted as rows count them: by their end, a retried one once, rejected ones not', () => {
    const endedAtMs = (NOVEMBER + 10) * 1000;
    const records = [
      { ...RECORD, endedAtMs },
      { ...RECORD, endedAtMs, lastAttempt: false },
      { ...RECORD, endedAtMs, outcome: 'rejected' as const },
      { ...RECORD, endedAtMs: NOVEMBER * 1000 - 1 },
      { ...RECORD, endedAtMs: DECEMBER * 1000 },
    ];
    expect(countUnsettled(records, { from: NOVEMBER, to: DECEMBER })).toBe(1);
  });
});
