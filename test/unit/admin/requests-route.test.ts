import type { BooksReader, RecordQuery } from '#domain/books.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { RECORD } from '#test/unit/observe/sample-record.ts';
import { createFixedBooks } from '#test/unit/reports/sample-books.ts';
import { describe, expect, test } from 'vitest';
import { NOW_MS, start } from './start-admin.ts';

describe('requests', () => {
  const charge = {
    hour: Date.UTC(2026, 10, 22, 10) / 1000,
    gpuMicros: '412345',
    costNanoUsd: '286351',
    prefillNanoUsd: '90000',
    decodeNanoUsd: '196351',
    otherNanoUsd: '0',
    nanoUsdPerGpuHour: '2500000000',
  };
  const named = (id: string, endedAtMs: number): UsageRecord => ({
    ...RECORD,
    recordId: `${id}.1`,
    requestId: id,
    endedAtMs,
  });
  const settled = (id: string, endedAtMs: number): SettledRecordJson => ({
    ...named(id, endedAtMs),
    charges: [charge],
  });

  test('have the shape of the contract, settled and not', async () => {
    const get = await start({
      books: createFixedBooks({ records: [settled('a', NOW_MS)] }),
      unsettled: () => [named('b', NOW_MS + 1)],
    });
    const { body } = await get('/api/requests');
    expect(body.next).toBeNull();
    expect(body.requests[1]).toEqual({
      requestId: 'a',
      clientRequestId: null,
      attempt: 1,
      team: 'search',
      project: 'ranking',
      keyId: 'k_1',
      user: 'u-17',
      tags: { feature: 'autocomplete' },
      requestedModel: 'llama-3.1-70b',
      model: 'llama-3.1-70b',
      deployment: 'llama-70b',
      upstream: 'trt-1',
      route: '/v1/chat/completions',
      stream: true,
      startedAt: '2026-11-22T10:00:00.000Z',
      endedAt: '2026-11-22T10:30:00.000Z',
      timeToFirstTokenMs: 100,
      durationMs: 1504,
      outcome: 'completed',
      status: 200,
      clientRetry: 0,
      tokens: { input: 900, cachedInput: 100, output: 118, reasoning: 0, total: 1118 },
      tokenSource: 'reported',
      gpuSeconds: 0.412345,
      costNanoUsd: '286351',
      prefillNanoUsd: '90000',
      decodeNanoUsd: '196351',
      otherNanoUsd: '0',
      charges: [{ hour: '2026-11-22T10:00:00Z', gpuSeconds: 0.412345, costNanoUsd: '286351', usdPerGpuHour: '2.5' }],
      profileSource: 'declared',
      settled: true,
      late: null,
    });
    expect(body.requests[0]).toMatchObject({
      requestId: 'b',
      settled: false,
      late: null,
      costNanoUsd: null,
      gpuSeconds: null,
      charges: [],
    });
  });

  test('say whether a part of their work came late, where that is known', async () => {
    const get = await start({
      books: createFixedBooks({ records: [{ ...settled('a', NOW_MS), late: false }] }),
      unsettled: () => [{ ...named('b', NOW_MS + 1), late: true }],
    });
    const { body } = await get('/api/requests');
    expect(body.requests).toMatchObject([
      { requestId: 'b', settled: false, late: true },
      { requestId: 'a', settled: true, late: false },
    ]);
  });

  test.each([1, 2, 3, 4, 7])('every record is on exactly one page, %i at a time', async (limit) => {
    const records = [5, 4, 3, 2, 1].map((second) => settled(`s${second}`, NOW_MS + second * 1000));
    const waiting = [1, 3, 2].map((second) => named(`u${second}`, NOW_MS + second * 1000));
    const get = await start({ books: createFixedBooks({ records }), unsettled: () => waiting });
    const seen: string[] = [];
    let cursor = '';
    for (let page = 0; page < 12; page += 1) {
      const { body } = await get(`/api/requests?limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`);
      expect(body.requests.length).toBeLessThanOrEqual(limit);
      seen.push(...body.requests.map(({ requestId }: { requestId: string }) => requestId));
      if (body.next === null) break;
      cursor = body.next;
    }
    expect(seen).toEqual(['u3', 'u2', 'u1', 's5', 's4', 's3', 's2', 's1']);
  });

  test('a record that settles while it is read is shown once, settled', async () => {
    const get = await start({
      books: createFixedBooks({ records: [settled('a', NOW_MS)] }),
      unsettled: () => [named('a', NOW_MS)],
    });
    const { body } = await get('/api/requests');
    expect(body.requests.map((row: { requestId: string; settled: boolean }) => [row.requestId, row.settled])).toEqual([
      ['a', true],
    ]);
  });

  test('filters reach the books and hold for what is not settled', async () => {
    const queries: RecordQuery[] = [];
    const fixed = createFixedBooks();
    const books: BooksReader = {
      ...fixed,
      readRecords: (query) => {
        queries.push(query);
        return fixed.readRecords(query);
      },
    };
    const waiting = [
      named('a', NOW_MS),
      { ...named('b', NOW_MS), team: 'chat' },
      { ...named('c', NOW_MS), clientRequestId: 'mine' },
    ];
    const get = await start({ books, unsettled: () => waiting });
    const found = async (query: string) =>
      (await get(`/api/requests?${query}`)).body.requests.map(({ requestId }: { requestId: string }) => requestId);
    expect(await found('team=chat')).toEqual(['b']);
    expect(await found('requestId=mine')).toEqual(['c']);
    expect(await found('requestId=a')).toEqual(['a']);
    expect(await found('outcome=timed_out')).toEqual([]);
    expect(await found(`from=2026-11-22T10:30:00.001Z`)).toEqual([]);
    expect(
      await found(`to=2026-11-22T10:30:00.001Z&keyId=k_1&project=ranking&user=u-17&model=llama-3.1-70b&limit=5`),
    ).toEqual(['c', 'b', 'a']);
    expect(queries.at(-1)).toEqual({
      toMs: NOW_MS + 1,
      keyId: 'k_1',
      project: 'ranking',
      user: 'u-17',
      model: 'llama-3.1-70b',
      limit: 2,
    });
  });

  test('a cursor whose part for the store was changed on its way is answered with 400', async () => {
    const refuse = () => Promise.reject(new RangeError('unknown cursor'));
    const get = await start({ books: { ...createFixedBooks(), readRecords: refuse } });
    const cursor = Buffer.from('["s","changed"]').toString('base64url');
    const { status, body } = await get(`/api/requests?cursor=${cursor}`);
    expect([status, body.error.code]).toEqual([400, 'invalid_parameter']);
  });

  test.each([
    'limit=0',
    'limit=1001',
    'limit=x',
    'outcome=great',
    'from=now',
    'cursor=garbage',
    'cursor=W10',
    'from=2026-02-30',
    'from=2026-11-24&to=2026-11-23',
    'colour=red',
  ])('?%s is answered with 400', async (query) => {
    const get = await start();
    expect((await get(`/api/requests?${query}`)).status).toBe(400);
  });
});
