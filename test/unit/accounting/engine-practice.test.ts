// What engines really do, and what they say wrongly: n answers, lists of prompts, embeddings, bundled chunks, counts that cannot be, a price that
// begins late, GPUs in fractions. Whatever it is, charged + idle is the bill, and charged is what records hold.
import { afterEach, describe, expect, test } from 'vitest';
import { AttemptFeatures } from '#accounting/attempt-features.ts';
import { totalsOf } from '#accounting/window-slices.ts';
import { type AttemptShape, finalTimeline } from '#accounting/work-timeline.ts';
import { freezeWindow } from '#attribution/freeze-window.ts';
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import {
  type AccountingBench,
  createEnd,
  createStart,
  PROFILE,
  sendContent,
  startBench,
  sumMetric,
} from '#test/support/accounting-bench.ts';
import { createPoolFacts, createPublication } from '#test/support/settlement-facts.ts';
import { rmSync } from 'node:fs';

const START_MS = 1_790_000_000_000;
const BASE: AttemptShape = {
  work: 'tokens',
  prefillOnly: false,
  stream: true,
  promptBytes: 400,
  maxTokens: null,
  sequences: 1,
};

/** The whole work of an answer that streamed an event every 10 ms. */
function work(
  shape: Partial<AttemptShape>,
  counts: { readonly input: number; readonly cached?: number; readonly output: number; readonly events?: number },
) {
  const features = new AttemptFeatures(START_MS, false);
  for (let event = 0; event < (counts.events ?? counts.output); event += 1)
    features.content(START_MS + 100 + event * 10, 1);
  features.end(START_MS + 100 + (counts.events ?? counts.output) * 10);
  const facts = {
    tokens: { input: counts.input, cachedInput: counts.cached ?? 0, output: counts.output, reasoning: null },
    worked: true,
    whole: true,
    estimatedPromptTokens: 0,
    estimatedStepsPerSecond: 0,
  };
  return totalsOf(finalTimeline({ ...BASE, ...shape }, features, { profile: PROFILE, clock: null }, facts));
}

describe('the work of an answer', () => {
  test('n answers share one prompt: it is prefilled once, and each step reads all of it', () => {
    const one = work({}, { input: 1000, output: 11 });
    const three = work({ sequences: 3 }, { input: 1000, output: 33 });
    expect([three.p, three.q, three.prefillSteps]).toEqual([one.p, one.q, 1]);
    expect([three.d, three.k]).toEqual([3 * one.d, 3 * one.k]);
  });

  test('prompts in a list do not read each other: four of 1000 tokens are the work of four requests', () => {
    const one = work({}, { input: 1000, cached: 200, output: 11 });
    const four = work({ sequences: 4, promptCount: 4 }, { input: 4000, cached: 800, output: 44 });
    expect([four.p, four.q, four.d, four.k]).toEqual([4 * one.p, 4 * one.q, 4 * one.d, 4 * one.k]);
  });

  test('embeddings are prefill alone, of each text by itself', () => {
    const texts = work(
      { prefillOnly: true, stream: false, sequences: 8, promptCount: 8 },
      { input: 800, output: 0, events: 0 },
    );
    expect(texts).toEqual({ p: 800, q: 8 * 100 * 100, d: 0, k: 0, prefillSteps: 1 });
  });

  test('tokens bundled in chunks, or accepted by speculation, are the same work as one by one', () => {
    expect(work({}, { input: 500, output: 120, events: 17 })).toEqual(work({}, { input: 500, output: 120 }));
  });

  test('cached tokens are read with every step and computed by none', () => {
    const cached = work({}, { input: 100, cached: 900, output: 11 });
    const computed = work({}, { input: 1000, output: 11 });
    expect(cached.p).toBe(100);
    expect(cached.k).toBe(computed.k);
    expect(cached.q).toBe(100 * (2 * 900 + 100));
  });
});

let bench: AccountingBench | null = null;
afterEach(() => {
  bench?.accounting.stop();
  if (bench !== null) rmSync(bench.dir, { recursive: true, force: true });
  bench = null;
});

/** Serves two requests, the first with these counts; the books and records of it all. */
async function serve(first: {
  readonly prompt: number | null;
  readonly output: number | null;
  readonly events: number;
}) {
  bench = await startBench();
  const { time, accounting } = bench;
  const [odd, even] = [createStart(time, 'odd'), createStart(time, 'even', { team: 'chat' })];
  const meters = [accounting.metering.begin(odd), accounting.metering.begin(even)];
  for (let event = 0; event < Math.max(first.events, 50); event += 1) {
    time.advance(20);
    if (event < first.events && meters[0] !== undefined) sendContent(time, meters[0]);
    if (event < 50 && meters[1] !== undefined) sendContent(time, meters[1]);
  }
  await meters[0]?.finish(createEnd(time, odd, first));
  await meters[1]?.finish(createEnd(time, even, { prompt: 100, output: 50 }));
  await bench.pass(60_000);
  const charged = sumMetric(bench.books, 'chargedNanoUsd');
  expect(charged).toBeGreaterThan(0n);
  expect(charged + sumMetric(bench.books, 'idleNanoUsd')).toBe(sumMetric(bench.books, 'capacityNanoUsd'));
  expect(sumMetric(bench.claims, 'costNanoUsd')).toBe(charged);
  const cost = (team: string) => sumMetric(bench?.claims.filter((claim) => claim.team === team) ?? [], 'costNanoUsd');
  return { search: cost('search'), chat: cost('chat'), accounting };
}

describe('books are exact, and nobody’s share is negative, where an engine', () => {
  test.each([
    ['counts ten times the tokens that it sent', { prompt: 100, output: 500, events: 50 }],
    ['counts fewer tokens than the events it sent', { prompt: 100, output: 3, events: 50 }],
    ['counts none at all', { prompt: null, output: null, events: 50 }],
    ['counts an answer of nothing after it sent fifty events', { prompt: 0, output: 0, events: 50 }],
    ['counts a prompt of a million tokens', { prompt: 1_000_000, output: 50, events: 50 }],
  ])('%s', async (_name, counts) => {
    const { search, chat, accounting } = await serve(counts);
    expect(search).toBeGreaterThanOrEqual(0n);
    expect(chat).toBeGreaterThan(0n);
    expect(accounting.status().unsettledRecords).toBe(0);
  });
});

describe('a window costs', () => {
  const publications = [{ journal: 'A', publication: createPublication({ window: 100, busyMs: 500 }) }];
  const freeze = (facts: Parameters<typeof createPoolFacts>[0]) =>
    freezeWindow({
      window: 100,
      facts: createPoolFacts(facts),
      publications,
      provisioned: true,
      available: true,
      observed: true,
    });

  test('nothing before the first price of its pool, and the GPU time is counted all the same', () => {
    const later = { name: 'h100', from: 101, nanoUsdPerGpuHour: '2500000000', source: 'test' };
    const frozen = freeze({ prices: [later] });
    expect([frozen.capacityNanoUsd, frozen.chargedNanoUsd, frozen.idleNanoUsd]).toEqual([0n, 0n, 0n]);
    expect(frozen.gpuMicros).toBe(500_000n);
  });

  test('a seventh on a MIG slice of a seventh: capacity, charge and GPU time', () => {
    const [whole, slice] = [freeze({ gpuMillionths: 7_000_000 }), freeze({ gpuMillionths: 1_000_000 })];
    expect(slice.gpuMicros * 7n).toBe(whole.gpuMicros);
    for (const part of ['capacityNanoUsd', 'chargedNanoUsd'] as const) {
      expect(Number(slice[part] * 7n - whole[part])).toBeLessThanOrEqual(7);
      expect(Number(whole[part] - slice[part] * 7n)).toBeLessThanOrEqual(7);
    }
    expect(slice.chargedNanoUsd + slice.idleNanoUsd).toBe(slice.capacityNanoUsd);
  });
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])(
  'a profile with a term of %d is refused before it prices anything',
  (term) => {
    expect(() => toProfileFemtos({ ...PROFILE, decodeStepMs: term })).toThrow(RangeError);
  },
);

test('LoRA adapters of one engine share its windows: each pays for its own work, together for the busy time', async () => {
  const [deployment] = Object.values(createPoolFacts().deployments);
  if (deployment === undefined) throw new Error('no facts');
  const facts = createPoolFacts({ deployments: { base: deployment, 'lora-a': deployment } });
  const of = (name: string, p: number) => createPublication({ deployment: name, window: 7, features: { p, q: p * p } });
  const frozen = freezeWindow({
    window: 7,
    facts,
    publications: [
      { journal: 'A', publication: of('base', 300) },
      { journal: 'B', publication: of('lora-a', 100) },
    ],
    provisioned: true,
    available: true,
    observed: true,
  });
  const [a, b] = [frozen.shares.get('A')?.nanoUsd ?? 0n, frozen.shares.get('B')?.nanoUsd ?? 0n];
  expect(a + b).toBe(frozen.chargedNanoUsd);
  expect(frozen.busyMs).toBe(500);
  expect(Number(a) / Number(b)).toBeCloseTo(3, 1);
});
