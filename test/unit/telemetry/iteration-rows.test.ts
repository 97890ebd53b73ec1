// Iteration rows as different versions of trtllm-serve write them, and what is no row at all.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseIterationRows } from '#telemetry/iteration-rows.ts';

const NEWEST = {
  timestamp: '11-22-2026 10:00:00.123456',
  iter: 154,
  iterLatencyMS: 14,
  kvCacheStats: { usedNumBlocks: 3, tokensPerBlock: 32 },
  inflightBatchingStats: { numContextRequests: 1, numGenRequests: 11, numCtxTokens: 512 },
  attentionDpRank: 0,
  hostStepTimeMS: 6.1,
  prevDeviceStepTimeMS: 5.6,
  gpuForwardTimeMS: 5.7,
  schedulerMode: 'overlap',
};
const parse = (...rows: unknown[]) => parseIterationRows(JSON.stringify(rows));
const gpuMsOf = (...rows: unknown[]) => parse(...rows)?.map(({ gpuMs }) => gpuMs);

describe('a row', () => {
  test('tells its number, its instant, its batch and its GPU time', () => {
    expect(parse(NEWEST)).toEqual([
      {
        iteration: 154,
        writtenMs: Date.UTC(2026, 10, 22, 10, 0, 0, 123) + 0.456,
        gpuMs: 5.7,
        forwardMs: 5.7,
        prefillTokens: 512,
        prefilling: 1,
        decoding: 11,
        cachedTokens: 96,
        blockTokens: 32,
      },
    ]);
  });

  test('without the GPU time takes what the next row says of it, then the host step', () => {
    const { gpuForwardTimeMS: _, ...older } = NEWEST;
    const next = { ...older, iter: 155, prevDeviceStepTimeMS: 5.9 };
    expect(gpuMsOf(older, next)).toEqual([5.9, 6.1]);
    // A gap: that row tells of another iteration.
    expect(gpuMsOf(older, { ...next, iter: 157 })).toEqual([6.1, 6.1]);
  });

  test('of an overlapping scheduler never takes the iteration latency, which spans two loops', () => {
    const oldest = { timestamp: NEWEST.timestamp, iter: 1, iterLatencyMS: 14 };
    expect(gpuMsOf(oldest)).toEqual([null]);
    expect(gpuMsOf({ ...oldest, schedulerMode: 'non_overlap' })).toEqual([14]);
  });

  test('of another attention rank is left out: the ranks run in step', () => {
    expect(parse(NEWEST, { ...NEWEST, attentionDpRank: 1 })).toHaveLength(1);
  });

  test('without a timestamp, or with one of another shape, has no instant', () => {
    expect(parse({ ...NEWEST, timestamp: '2026-11-22T10:00:00Z' })?.[0]?.writtenMs).toBeNull();
    expect(parse({})?.[0]).toMatchObject({ iteration: null, writtenMs: null, gpuMs: null, cachedTokens: null });
  });
});

test('Prometheus text, errors and other servers are no rows', () => {
  for (const text of ['# HELP x\nx 1\n', '{"error":"x"}', '', 'null', '[1'])
    expect(parseIterationRows(text)).toBeNull();
  expect(parseIterationRows('[]')).toEqual([]);
});

test('any JSON list gives rows or nothing, never an exception or a number that is none', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), (rows) => {
      for (const row of parse(...rows) ?? []) {
        expect(row.gpuMs === null || row.gpuMs >= 0).toBe(true);
        expect(Number.isFinite(row.prefillTokens)).toBe(true);
      }
    }),
  );
});
