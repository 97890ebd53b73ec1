// `/perf_metrics` of the simulated engine: entries of answered sequences alone, in a ring, drained, each step as its batch had it.
import { expect, test } from 'vitest';
import { EngineCore, type Iteration } from '#simulator/engine-core.ts';
import { createRequestAccount, type Sequence } from '#simulator/engine-sequence.ts';
import { RequestTimingLog } from '#simulator/request-timing-log.ts';

interface Entry {
  readonly request_id: number;
  readonly perf_metrics: { readonly first_iter: number; readonly last_iter: number; readonly kv_cache_metrics: object };
  readonly time_breakdown_metrics: Readonly<
    Record<'ctx_chunk_metrics' | 'step_metrics', readonly { forward_start_time: number; gpu_forward_time: number }[]>
  >;
}

function create(capacity: number) {
  const timings = new RequestTimingLog(capacity);
  const iterations: Iteration[] = [];
  const coefficients = {
    iterationMs: 6,
    prefillTokenMs: 0.02,
    prefillContextMs: 1e-6,
    decodeStepMs: 0.04,
    contextTokenMs: 1e-4,
  };
  const settings = { coefficients, noiseCv: 0, maxSequences: 8, tokenBudget: 2048, kvCapacityTokens: 100_000 };
  const core = new EngineCore({ ...settings, prefixCache: false, maxQueued: 100, seed: 1 }, (iteration) => {
    iterations.push(iteration);
    timings.append(iteration);
  });
  const submit = (id: number, promptTokens: number, outputTokens: number): Sequence => {
    const listener = { onToken: () => {}, onFinish: () => timings.finish(sequence, id) };
    const order = { promptTokens, outputTokens, promptBlocks: [], arrivedAtMs: 1000, account: createRequestAccount() };
    const sequence = core.submit({ ...order, listener });
    return sequence;
  };
  return { timings, core, submit, iterations, drain: () => timings.drain() as readonly unknown[] as readonly Entry[] };
}

test('an entry has a step for each iteration that the sequence was in, equal to the last bit in all members', () => {
  const { core, submit, drain, iterations } = create(10);
  submit(7, 3000, 5);
  submit(8, 100, 9);
  core.step(1e6);
  const entries = drain();
  expect(entries.map(({ request_id }) => request_id)).toEqual([7, 8]);
  const [long, short] = entries.map((entry) => entry.time_breakdown_metrics);
  expect([long?.ctx_chunk_metrics.length, long?.step_metrics.length]).toEqual([2, 4]);
  expect([short?.ctx_chunk_metrics.length, short?.step_metrics.length]).toEqual([1, 8]);
  // The first token came of the second iteration, as that of the short prompt.
  expect(entries.map(({ perf_metrics: { first_iter, last_iter } }) => [first_iter, last_iter])).toEqual([
    [2, 6],
    [2, 10],
  ]);
  expect(long?.ctx_chunk_metrics[1]).toEqual(short?.ctx_chunk_metrics[0]);
  expect(long?.ctx_chunk_metrics[1]?.gpu_forward_time).toBe(iterations[1]?.durationMs);
  expect(entries[0]?.perf_metrics.kv_cache_metrics).toMatchObject({ num_reused_blocks: 0, num_missed_blocks: 94 });
});

test('a sequence that is cut off gets none, a read empties the list, and the oldest are dropped', () => {
  const { core, submit, drain } = create(3);
  const cut = submit(1, 100, 50);
  core.step(1100);
  core.abort(cut);
  for (let id = 2; id < 7; id += 1) submit(id, 100, 2 + id);
  core.step(1e6);
  expect(drain().map(({ request_id }) => request_id)).toEqual([4, 5, 6]);
  expect(drain()).toEqual([]);
});

test('it is off unless asked for', () => {
  const { core, submit, drain } = create(0);
  submit(1, 100, 5);
  core.step(1e6);
  expect(drain()).toEqual([]);
});
