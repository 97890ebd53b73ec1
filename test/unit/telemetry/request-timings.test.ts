// Every shape that `/perf_metrics` has had, and what is read from it.
import { describe, expect, test } from 'vitest';
import { parseRequestTimings } from '#telemetry/request-timings.ts';

const step = (startedAt: number, more: object = {}) => ({
  forward_start_time: startedAt,
  forward_end_time: startedAt + 0.004,
  sample_start_time: startedAt + 0.005,
  sample_end_time: startedAt + 0.006,
  gpu_forward_time: 5.1,
  gpu_sample_time: 0.3,
  token_time: startedAt + 0.008,
  ...more,
});
const entry = (more: object = {}) => ({
  request_id: 77,
  perf_metrics: {
    first_iter: 100,
    last_iter: 102,
    timing_metrics: { arrival_time: 5021.123, first_token_time: 5021.161, last_token_time: 5021.402 },
    kv_cache_metrics: { num_total_allocated_blocks: 17, num_reused_blocks: 12, num_missed_blocks: 5 },
  },
  time_breakdown_metrics: {
    ctx_gpu_forward_time: 12,
    ctx_chunk_metrics: [step(5021.131)],
    step_metrics: [step(5021.162, { iter: 2 }), step(5021.17, { iter: 3 })],
  },
  ...more,
});
const parse = (...entries: unknown[]) => parseRequestTimings(JSON.stringify(entries));
const only = (...entries: unknown[]) => parse(...entries)?.timings[0];

test('an entry tells chunks, steps, the numbers of its iterations, its blocks and the time of each batch', () => {
  const plain = { forwardMs: 5.1, sampleMs: 0.3, iteration: null, tokens: null, batch: null };
  expect(only(entry())).toEqual({
    id: '77',
    chunks: [{ ...plain, startedAt: 5021.131 }],
    steps: [
      { ...plain, startedAt: 5021.162 },
      { ...plain, startedAt: 5021.17 },
    ],
    firstIteration: 100,
    lastIteration: 102,
    reusedBlocks: 12,
    missedBlocks: 5,
    isSpeculative: false,
  });
});

describe('variants', () => {
  test.each([
    ['off, or nothing ended: an empty list', [], 0],
    ['before step times', [entry({ time_breakdown_metrics: undefined })], 1],
    ['another backend: step times that are null', [entry({ time_breakdown_metrics: null })], 1],
    ['lists without steps', [entry({ time_breakdown_metrics: { ctx_chunk_metrics: [], step_metrics: [] } })], 1],
    [
      'a record of a disaggregated front',
      [{ ctx_server: 'a:1', ctx_perf_metrics: entry(), gen_perf_metrics: entry() }],
      1,
    ],
    ['no objects', [null, 7, 'x'], 3],
    ['steps without an instant', [entry({ time_breakdown_metrics: { step_metrics: [{ gpu_forward_time: 5 }] } })], 1],
  ])('%s: counted, and nothing is made up', (_what, entries, count) => {
    expect(parse(...entries)).toEqual({ entries: count, timings: [] });
  });

  test('the first versions kept steps inside perf_metrics', () => {
    const old = { request_id: 1, perf_metrics: { first_iter: 5, last_iter: 6, step_metrics: [step(3)] } };
    expect(only(old)).toMatchObject({ chunks: [], steps: [{ startedAt: 3 }], reusedBlocks: null, missedBlocks: null });
  });

  test('the newest has a status and records of a worker under a disaggregated front are its own', () => {
    const worker = entry({ status: 'complete', disagg_request_id: 9, ctx_request_id: 76 });
    expect(only(worker)).toEqual(only(entry()));
  });

  test('time events name the iteration, its batch and the tokens of a chunk', () => {
    const events = { iter_counter: 100, num_ctx_requests: 1, num_gen_requests: 11, req_context_token_number: 512 };
    const more = { time_breakdown_metrics: { ctx_chunk_metrics: [step(5, events)] } };
    const batch = { prefilling: 1, decoding: 11 };
    expect(only(entry(more))?.chunks).toMatchObject([{ iteration: 100, tokens: 512, batch }]);
  });

  test('a GPU time of 0 was not measured', () => {
    const more = { time_breakdown_metrics: { step_metrics: [step(5, { gpu_forward_time: 0, gpu_sample_time: 0 })] } };
    expect(only(entry(more))?.steps).toMatchObject([{ forwardMs: null, sampleMs: 0 }]);
  });

  test('a name too long for one is not kept: thousands are remembered', () => {
    expect(only(entry({ request_id: 'r'.repeat(128) }))?.id).toHaveLength(128);
    expect(only(entry({ request_id: 'r'.repeat(129) }))?.id).toBeNull();
  });

  test('steps that come unordered are put in order of time', () => {
    const more = { time_breakdown_metrics: { step_metrics: [step(9), step(7), step(8)] } };
    expect(only(entry(more))?.steps.map(({ startedAt }) => startedAt)).toEqual([7, 8, 9]);
  });

  test('a list with a step that cannot be dated is left out whole: counted through, it would be wrong by one', () => {
    const more = { time_breakdown_metrics: { ctx_chunk_metrics: [step(1)], step_metrics: [step(7), {}] } };
    expect(only(entry(more))).toMatchObject({ chunks: [{ startedAt: 1 }], steps: [] });
  });

  test('drafts are seen: several tokens may come of a step', () => {
    const perf = { ...entry().perf_metrics, speculative_decoding: { acceptance_rate: 0.7, total_draft_tokens: 20 } };
    expect(only(entry({ perf_metrics: perf }))?.isSpeculative).toBe(true);
  });

  test.each([
    ['Prometheus text', '# HELP x\nx 1\n'],
    ['an error', '{"error":"no"}'],
    ['nothing', ''],
  ])('%s is no list', (_what, text) => {
    expect(parseRequestTimings(text)).toBeNull();
  });
});
