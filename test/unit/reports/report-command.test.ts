import type { BooksReader } from '#domain/books.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { runReportCommand } from '#reports/report-command.ts';
import type { ReportCommandArguments } from '#reports/report-command.ts';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  createFixedBooks,
  createReportConfig,
  createCell,
  EXAMPLE_BOOK,
  EXAMPLE_CELL,
  EXAMPLE_STATUS,
} from './sample-books.ts';

const NOW_MS = Date.parse('2026-11-22T10:30:00Z');

async function run(args: ReportCommandArguments, books: BooksReader = createFixedBooks(), isTTY = false) {
  let out = '';
  let err = '';
  let nowMs = NOW_MS;
  const code = await runReportCommand({
    books,
    config: createReportConfig(),
    args,
    out: {
      isTTY,
      write: (text) => {
        out += text;
      },
    },
    err: {
      write: (text) => {
        err += text;
      },
    },
    now: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
  });
  return { code, out, err };
}

describe('inferometer report', () => {
  test('prints a table without escape codes into a pipe, and with them on a terminal', async () => {
    const { code, out, err } = await run({ month: '2026-11' });
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('search');
    expect(out).toContain('0.008573');
    expect(out).toContain('0.3154');
    expect(out).toContain('Idle given to nobody: $9.991427 of $9.991427.');
    expect(out).toContain('difference 0 nanodollars');
    expect(out).toContain('Settled through 2026-12-01T00:00:00Z: complete.');
    expect(out).not.toContain('\u001B');
    expect((await run({ month: '2026-11' }, undefined, true)).out).toContain('\u001B[');
  });

  test('says so when there is nothing yet', async () => {
    const empty = createFixedBooks({ cells: [], books: [], status: { frontier: null } });
    const { code, out } = await run({}, empty);
    expect(code).toBe(0);
    expect(out).toContain('No request was settled');
    expect(out).toContain('no gateway has joined');
  });

  test('--json is --format json', async () => {
    const { out } = await run({ month: '2026-11', json: true });
    expect(JSON.parse(out)).toMatchObject({ schema: 'inferometer.chargeback/1', rows: [{ team: 'search' }] });
    expect((await run({ month: '2026-11', format: 'json' })).out).toBe(out);
  });

  test('--out writes a file and nothing to the terminal', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'inferometer-report-'));
    const file = join(folder, 'report.csv');
    const { code, out } = await run({ month: '2026-11', format: 'csv', out: file }, undefined, true);
    expect([code, out]).toEqual([0, '']);
    expect(readFileSync(file, 'utf8')).toMatch(/^line,team,model,requests/);
    rmSync(folder, { recursive: true });
    const failed = await run({ out: join(folder, 'nowhere', 'report.csv') });
    expect(failed.code).toBe(1);
    expect(failed.err).toMatch(/^inferometer report: .*ENOENT.*\n$/);
  });

  test.each<[ReportCommandArguments, string]>([
    [{ groupBy: 'colour' }, '--group-by'],
    [{ format: 'focus' }, '--format'],
    [{ format: 'html' }, '--format'],
    [{ basis: 'planned' }, '--basis'],
    [{ idle: 'reserved' }, '--idle'],
    [{ timezone: 'Asia/Kolkata' }, '--timezone'],
    [{ wait: 'long' }, '--wait'],
    [{ month: 'november' }, '--month'],
  ])('%o is bad usage: exit 2 and one line that names the flag', async (args, flag) => {
    const { code, out, err } = await run(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(new RegExp(`^inferometer report: ${flag} .{10,}\n$`));
  });

  test('a store that does not answer is exit 1 with what to do', async () => {
    const books = {
      ...createFixedBooks(),
      readStatus: () => Promise.reject(new StoreUnavailableError('no answer within 50 ms')),
    };
    const { code, err } = await run({}, books);
    expect(code).toBe(1);
    expect(err).toContain('check that the store');
  });
});

describe('--wait', () => {
  const to = Date.parse('2026-11-22T10:00:00Z') / 1000;
  const args = { from: '2026-11-22', to: '2026-11-22T10:00:00Z', wait: '30s', json: true };

  function createAdvancing(frontiers: readonly number[]): BooksReader {
    let asked = 0;
    return {
      ...createFixedBooks(),
      readStatus: async () => {
        const frontier = frontiers[Math.min(asked, frontiers.length - 1)] ?? 0;
        asked += 1;
        return { ...EXAMPLE_STATUS, nowMs: NOW_MS, frontier };
      },
    };
  }

  test('prints once every window before `to` is settled', async () => {
    const { code, out } = await run(args, createAdvancing([to - 3, to - 2, to - 1]));
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ complete: true, settledThrough: '2026-11-22T10:00:00Z' });
  });

  test('gives up with exit 1 and prints no half report', async () => {
    const { code, out, err } = await run(args, createAdvancing([to - 2]));
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain('not settled through 2026-11-22T10:00:00Z within 30s');
  });

  test('a store that hangs does not make the wait longer than was asked', async () => {
    const hanging: BooksReader = { ...createFixedBooks(), readStatus: () => new Promise(() => {}) };
    // Holds the process as the connection to a real store would: the limit's own timer does not.
    const held = setTimeout(() => {}, 5000);
    const { code, err } = await run({ ...args, wait: '50ms' }, hanging);
    clearTimeout(held);
    expect(code).toBe(1);
    expect(err).toContain('the store stopped answering during --wait');
  });
});

describe('reading', () => {
  test('waits for a moment in which no claim lies between books and cells', async () => {
    let claimed = 1n;
    const books: BooksReader = {
      ...createFixedBooks(),
      readStatus: async () => ({ ...EXAMPLE_STATUS, claimState: String(claimed) }),
      readBooks: async () => [{ ...EXAMPLE_BOOK, metrics: { ...EXAMPLE_BOOK.metrics, claimedNanoUsd: claimed } }],
      readRollups: async () => {
        claimed = claimed < 4n ? claimed + 1n : claimed;
        return [
          createCell({}, { ...EXAMPLE_CELL.metrics, costNanoUsd: claimed, prefillNanoUsd: 0n, decodeNanoUsd: claimed }),
        ];
      },
    };
    const report = JSON.parse((await run({ month: '2026-11', json: true }, books)).out);
    expect(report.rows[0].totalNanoUsd).toBe('4');
    expect(report.pools[0].pendingNanoUsd).toBe(String(8_573_387n - 4n));
  });

  test('by user every page of records is read', async () => {
    const base = { ...EXAMPLE_CELL, start: Date.parse('2026-11-22T09:00:00Z') / 1000 };
    const records = Array.from({ length: 2500 }, (_, index) => createRecord(index));
    const books = createFixedBooks({ cells: [{ ...base, metrics: { ...base.metrics, requests: 2500n } }], records });
    const { out } = await run({ month: '2026-11', groupBy: 'user', json: true }, books);
    const report = JSON.parse(out);
    expect(report.rows.map((row: { user: string | null; requests: number }) => [row.user, row.requests])).toEqual([
      ['u-0', 1250],
      ['u-1', 1250],
      [null, 0],
    ]);
    expect(report.notes).toHaveLength(1);
  });
});

function createRecord(index: number) {
  return {
    recordId: `r${index}.1`,
    requestId: `r${index}`,
    clientRequestId: null,
    attempt: 1,
    lastAttempt: true,
    team: 'search',
    project: null,
    keyId: null,
    user: `u-${index % 2}`,
    tags: {},
    requestedModel: null,
    model: 'llama-3.1-70b',
    deployment: 'llama-70b',
    upstream: 'trt-1',
    pool: 'p',
    route: '/v1/embeddings',
    stream: false,
    startedAtMs: NOW_MS,
    endedAtMs: NOW_MS,
    timeToFirstTokenMs: null,
    durationMs: 1,
    outcome: 'completed' as const,
    status: 200,
    clientRetry: 0,
    tokens: { input: 1, cachedInput: 0, output: 0, reasoning: 0 },
    tokenSource: 'reported' as const,
    profileSource: null,
    charges: [],
  };
}
