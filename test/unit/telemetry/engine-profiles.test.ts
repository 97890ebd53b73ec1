// A profile read from rows reaches the fact book once it is worth it, and does not churn.
import { expect, test } from 'vitest';
import type { DeploymentConfig } from '#config/config.ts';
import { silentLog } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { poolFactsFromConfig } from '#accounting/pool-facts-from-config.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { EngineProfiles } from '#telemetry/engine-profiles.ts';
import type { IterationRow } from '#telemetry/iteration-rows.ts';
import { listStatisticsTargets } from '#telemetry/statistics-targets.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createSampleConfig, LLAMA } from '#test/unit/observe/sample-config.ts';

/** Decode iterations of `batch` sequences at context 1000: 5 ms and 0.1 ms each; every tenth prefills 500 tokens at 0.02 ms. */
const rowsOf = (first: number, count: number): IterationRow[] =>
  Array.from({ length: count }, (_, index) => {
    const batch = 1 + (Math.floor((first + index) / 60) % 40);
    const prefills = (first + index) % 10 === 0;
    return {
      iteration: first + index,
      writtenMs: null,
      gpuMs: 5 + 0.1 * batch + (prefills ? 10 : 0),
      forwardMs: null,
      prefillTokens: prefills ? 500 : 0,
      prefilling: prefills ? 1 : 0,
      decoding: batch,
      cachedTokens: 1000 * batch,
      blockTokens: 0,
    };
  });

async function setUp(overrides: Partial<DeploymentConfig> = {}) {
  let nowMs = 1e9;
  const config = createSampleConfig({ deployments: [{ ...LLAMA, ...overrides }] });
  const [target] = listStatisticsTargets(config, ENGINE_TRAITS);
  if (target === undefined) throw new Error('the sample has an engine');
  const store = new MemorySettlementStore({ now: () => nowMs });
  await store.open();
  await store.join({ journal: 'A', incarnation: 1 });
  const wanted = [...poolFactsFromConfig(config)].map(([pool, facts]) => [pool, [{ ...facts, effectiveFrom: 0 }]]);
  await store.putFacts(Object.fromEntries(wanted), 0);
  let isUp = true;
  const settlement = {
    readFreezeInput: () => store.readFreezeInput(),
    putFacts: (...args: Parameters<typeof store.putFacts>) => store.putFacts(...args),
  };
  const books = {
    readFacts: async () => {
      if (!isUp) throw new StoreUnavailableError('down');
      return store.readFacts();
    },
  };
  const clock = { monotonicMs: () => nowMs };
  const profiles = new EngineProfiles({ settlement, books, clock, log: silentLog });
  let fed = 0;
  return {
    feed: async (count: number) => {
      for (const end = fed + count; fed < end; fed += 100, nowMs += 1000)
        await profiles.take(target, { rows: rowsOf(fed, 100), exact: [] });
    },
    setStore: (up: boolean) => (isUp = up),
    versions: async () => (await store.readFacts()).pools[target.pool] ?? [],
  };
}

test('some thousand iterations make a profile, and the same engine goes on without another version', async () => {
  const { feed, versions } = await setUp();
  await feed(2000);
  expect(await versions()).toHaveLength(1);
  await feed(6000);
  const [, engine] = await versions();
  const facts = engine?.deployments['llama-70b'];
  expect(facts?.profileSource).toBe('engine');
  expect(facts?.profileFitError).toBeLessThan(0.02);
  // 5 ms and 0.02 ms in femtoseconds; the step's two terms are one number at one context.
  expect(Number(facts?.profile.t0) / 5e12).toBeCloseTo(1, 1);
  expect(Number(facts?.profile.a) / 2e10).toBeCloseTo(1, 1);
  expect((Number(facts?.profile.d) + 1000 * Number(facts?.profile.k)) / 1e11).toBeCloseTo(1, 1);
  await feed(20_000);
  expect(await versions()).toHaveLength(2);
});

test('a declared profile is not touched, nor that of an engine that shares its GPUs with another', async () => {
  const engineProfile = {
    iterationMs: 1,
    prefillTokenMs: 1,
    prefillContextMs: 0,
    decodeStepMs: 1,
    contextTokenMs: 0,
  };
  const shared = ['http://a:1', 'http://b:1'].flatMap((url) =>
    LLAMA.upstreams.map((upstream) => ({ ...upstream, url, name: url, pool: 'both', dcgm: '' })),
  );
  for (const overrides of [{ engineProfile }, { upstreams: shared }]) {
    const { feed, versions } = await setUp(overrides);
    await feed(8000);
    expect(await versions()).toHaveLength(1);
  }
});

test('a store that does not answer is asked again later', async () => {
  const { feed, versions, setStore } = await setUp();
  setStore(false);
  await feed(8000);
  setStore(true);
  await feed(1500);
  expect(await versions()).toHaveLength(2);
});
