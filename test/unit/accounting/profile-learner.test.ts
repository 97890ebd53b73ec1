// The learner among processes: each window is learned from once, restarts lose nothing that was stored, and only guesses are replaced.
import { beforeEach, describe, expect, test } from 'vitest';
import { ProfileLearner } from '#accounting/profile-learner.ts';
import { type DeploymentProfile, ProfileBook } from '#accounting/profile-of.ts';
import { parseLearned } from '#accounting/learned-state.ts';
import { countOf } from '#attribution/learn-statistics.ts';
import { scalePrefill } from '#attribution/prefill-factor.ts';
import { fromProfileFemtos, toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { EngineProfile, ProfileSource } from '#domain/engine-profile.ts';
import type { LogFields } from '#domain/log.ts';
import { silentLog } from '#domain/log.ts';
import { factsInForce } from '#domain/pool-facts.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { createEngineWindows } from '#test/support/engine-windows.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createFreezeInput, createPoolFacts } from '#test/support/settlement-facts.ts';

const TRUE: EngineProfile = {
  iterationMs: 9,
  prefillTokenMs: 0.03,
  prefillContextMs: 9e-7,
  decodeStepMs: 0.05,
  contextTokenMs: 4e-5,
};
const GUESS: EngineProfile = { ...TRUE, iterationMs: 18, decodeStepMs: 0.1, prefillTokenMs: 0.015 };
const START = 1_000_000;
const NAME = 'llama-8b';

let nowMs = 0;
let store: MemorySettlementStore;
let warnings: { fields: LogFields; message: string }[];
let infos: { fields: LogFields; message: string }[];

function factsWith(profile: EngineProfile, profileSource: ProfileSource) {
  return createPoolFacts({
    deployments: {
      [NAME]: { model: 'llama-3.1-8b', profile: toProfileFemtos(profile), profileSource, profileFitError: null },
    },
  });
}

async function begin(profile: EngineProfile = GUESS, source: ProfileSource = 'builtin'): Promise<void> {
  nowMs = START * 1000;
  store = new MemorySettlementStore({ now: () => nowMs });
  warnings = [];
  infos = [];
  await store.open();
  await store.putFacts({ 'pool-a': [factsWith(profile, source)] }, 0);
}

interface Process {
  readonly learner: ProfileLearner;
  readonly profiles: ProfileBook;
}

function createProcess(
  configured: DeploymentProfile = { profile: GUESS, source: 'builtin' },
  learnable: readonly string[] = [NAME],
): Process {
  const profiles = new ProfileBook(() => configured);
  const learner = new ProfileLearner({
    store,
    settlement: store,
    books: store,
    profiles,
    canLearn: (deployment) => learnable.includes(deployment),
    monotonicMs: () => nowMs,
    epochMs: () => nowMs,
    log: {
      ...silentLog,
      info: (fields, message) => void infos.push({ fields, message }),
      warn: (fields, message) => void warnings.push({ fields, message }),
    },
  });
  return { learner, profiles };
}

/** The process freezes so many windows of an engine, storing every ten seconds. */
async function freeze(
  { learner }: Process,
  windows: {
    readonly count: number;
    readonly batch?: number;
    readonly profile?: EngineProfile;
    readonly seed?: number;
  },
): Promise<void> {
  const { count, batch = 12, profile = TRUE, seed = 1 } = windows;
  const firstWindow = Math.floor(nowMs / 1000);
  const all = createEngineWindows({ profile, batch, count, firstWindow, seed });
  for (let from = 0; from < all.length; from += 10) {
    const some = all.slice(from, from + 10);
    const board = some.map(({ publication }) => ({ journal: 'A', publication }));
    const facts = await store.readFacts();
    const frontier = firstWindow + from - 1;
    nowMs = (firstWindow + from + 12) * 1000;
    learner.observe(createFreezeInput({ facts, frontier, board, nowMs }), frontier + 10);
    await learner.tick();
  }
}

async function inForce() {
  const facts = factsInForce(await store.readFacts(), 'pool-a', Math.floor(nowMs / 1000) + 3600);
  return facts?.deployments[NAME];
}

async function sampleCount(): Promise<number> {
  const group = parseLearned((await store.readLearned()).text).get(NAME);
  return group === undefined ? 0 : countOf(group.grid);
}

beforeEach(() => begin());

describe('what is learned', () => {
  test('takes the place of the built-in profile beyond what is frozen, with its source, samples and error', async () => {
    const process = createProcess();
    await freeze(process, { count: 20 });
    expect((await inForce())?.profileSource).toBe('builtin');
    await freeze(process, { count: 60 });
    const deployment = await inForce();
    expect(deployment).toMatchObject({ profileSource: 'learned', model: 'llama-3.1-8b' });
    expect(deployment?.profileSamples).toBeGreaterThanOrEqual(30);
    expect(deployment?.profileFitError).toBeLessThan(0.1);
    const versions = (await store.readFacts()).pools['pool-a'] ?? [];
    expect(versions[0]).toEqual(factsWith(GUESS, 'builtin'));
    for (const [index, { effectiveFrom }] of versions.entries()) {
      expect(effectiveFrom).toBeGreaterThan(versions[index - 1]?.effectiveFrom ?? -1);
      if (index > 0) expect(effectiveFrom).toBeGreaterThanOrEqual(START + 2);
    }
    nowMs += 60_000;
    await process.learner.tick();
    expect(process.profiles.of(NAME)).toMatchObject({ source: 'learned', samples: deployment?.profileSamples });
  });

  test('is the sum of all processes’ windows, whoever froze them', async () => {
    const [one, other] = [createProcess(), createProcess()];
    for (let turn = 0; turn < 5; turn += 1) {
      await freeze(one, { count: 20, seed: turn });
      await freeze(other, { count: 20, seed: 90 + turn });
    }
    expect(await sampleCount()).toBe(200);
  });

  test('is still there after a restart', async () => {
    await freeze(createProcess(), { count: 50 });
    const samples = await sampleCount();
    await freeze(createProcess(), { count: 50, seed: 2 });
    expect(samples).toBe(50);
    expect(await sampleCount()).toBe(100);
  });

  test('is not lost while the store does not answer, and not counted twice when it does again', async () => {
    const process = createProcess();
    const put = store.putLearned.bind(store);
    store.putLearned = async () => {
      throw new StoreUnavailableError('down');
    };
    await freeze(process, { count: 30 });
    expect(await sampleCount()).toBe(0);
    store.putLearned = put;
    await freeze(process, { count: 10, seed: 2 });
    expect(await sampleCount()).toBe(40);
  });

  test('survives another process that stored in between', async () => {
    const process = createProcess();
    const put = store.putLearned.bind(store);
    let races = 2;
    store.putLearned = async (text, version) => {
      if (races > 0) {
        races -= 1;
        await put((await store.readLearned()).text, version);
      }
      return put(text, version);
    };
    await freeze(process, { count: 10 });
    expect(await sampleCount()).toBe(10);
  });

  test('does not churn: hours of the same traffic make a handful of versions', async () => {
    const process = createProcess();
    for (let hour = 0; hour < 3; hour += 1) await freeze(process, { count: 3600, seed: hour });
    expect((await store.readFacts()).pools['pool-a']?.length).toBeLessThan(16);
  });

  test('is not taken for applied where another process applied its own a moment ago, and comes later', async () => {
    const process = createProcess();
    await freeze(process, { count: 20 });
    const { version } = await store.readFacts();
    const at = Math.floor(nowMs / 1000);
    const theirs = factsWith({ ...TRUE, iterationMs: 4 }, 'learned');
    await store.putFacts({ 'pool-a': [factsWith(GUESS, 'builtin'), { ...theirs, effectiveFrom: at + 2 }] }, version);
    await freeze(process, { count: 120, seed: 2 });
    const deployment = await inForce();
    expect(fromProfileFemtos(deployment?.profile ?? toProfileFemtos(GUESS)).iterationMs).toBeGreaterThan(6);
    const group = parseLearned((await store.readLearned()).text).get(NAME);
    const versions = (await store.readFacts()).pools['pool-a']?.length ?? 0;
    expect(versions).toBeGreaterThan(2);
    expect(group?.appliedAtSamples).toBeGreaterThan(0);
  });

  test('of a document that nobody can read begins anew', async () => {
    await store.putLearned('{"groups":{"llama-8b":{"grid":[7]},"x":null}', 0);
    await freeze(createProcess(), { count: 10 });
    expect(await sampleCount()).toBe(10);
  });

  test('on one kind of GPU says nothing of another', async () => {
    const process = createProcess();
    await freeze(process, { count: 50 });
    const { version } = await store.readFacts();
    await store.putFacts({ 'pool-a': [{ ...factsWith(GUESS, 'builtin'), gpu: 'L40S' }] }, version);
    await freeze(process, { count: 20, seed: 3 });
    expect(await sampleCount()).toBe(20);
  });
});

describe.each(['declared', 'calibrated', 'engine'] as const)('a profile that is %s', (source) => {
  test('is never replaced by a learned one', async () => {
    await begin(GUESS, source);
    await freeze(createProcess({ profile: GUESS, source: source === 'engine' ? 'builtin' : source }), { count: 200 });
    expect((await inForce())?.profileSource).toBe(source);
    expect((await inForce())?.profile).toEqual(toProfileFemtos(GUESS));
  });
});

describe('a declared profile of an engine that hides half of its prefill', () => {
  const hiding: EngineProfile = { ...TRUE, prefillTokenMs: 0.015, prefillContextMs: 4.5e-7 };
  const declared = { profile: TRUE, source: 'declared' as ProfileSource };

  test('prices the windows that follow by a part of its prefill, stays declared, and what was priced before stays', async () => {
    await begin(TRUE, 'declared');
    const process = createProcess(declared);
    await freeze(process, { count: 200, batch: 48, profile: hiding });
    const deployment = await inForce();
    const factor = deployment?.prefillFactor ?? 1;
    expect(factor).toBeGreaterThan(0.5);
    expect(factor).toBeLessThan(0.75);
    expect(deployment?.profile).toEqual(scalePrefill(toProfileFemtos(TRUE), factor));
    expect(deployment).toMatchObject({ profileSource: 'declared', profileFitError: null });
    expect((await store.readFacts()).pools['pool-a']?.[0]).toEqual(factsWith(TRUE, 'declared'));
    const told = infos.filter(({ fields }) => 'prefillFactor' in fields);
    expect(told.at(-1)?.fields).toMatchObject({ deployment: NAME, prefillFactor: factor });
    nowMs += 60_000;
    await process.learner.tick();
    expect(process.profiles.of(NAME)).toMatchObject({ source: 'declared', prefillFactor: factor });
    expect(process.profiles.of(NAME).profile.prefillTokenMs).toBeCloseTo(0.03 * factor, 12);
    expect(process.profiles.configured(NAME).profile).toEqual(TRUE);
  });

  test('makes a handful of versions in hours of changing loads, restarts among them', async () => {
    await begin(TRUE, 'declared');
    for (let turn = 0; turn < 12; turn += 1) {
      const process = createProcess(declared);
      await freeze(process, { count: 900, batch: [24, 48, 6][turn % 3] ?? 24, profile: hiding, seed: turn });
    }
    expect((await inForce())?.prefillFactor).toBeLessThan(0.8);
    expect((await store.readFacts()).pools['pool-a']?.length).toBeLessThan(8);
  });

  test('is watched for drift by the terms in force', async () => {
    await begin(TRUE, 'declared');
    const process = createProcess(declared);
    await freeze(process, { count: 100, batch: 48, profile: hiding });
    const terms = Object.values((await inForce())?.profile ?? {}).join(' ');
    await freeze(process, { count: 60, batch: 48, profile: hiding, seed: 2 });
    expect(parseLearned((await store.readLearned()).text).get(NAME)?.drift?.profile).toBe(terms);
  });

  test('keeps all of its prefill where the configuration fixes it', async () => {
    await begin(TRUE, 'declared');
    await freeze(createProcess({ ...declared, fixed: true }), { count: 400, batch: 48, profile: hiding });
    expect(await inForce()).toEqual(factsWith(TRUE, 'declared').deployments[NAME]);
  });

  test('is left alone by a process whose configuration has other terms than are in force', async () => {
    await begin(TRUE, 'declared');
    const other = { profile: { ...TRUE, iterationMs: 9.5 }, source: 'declared' as const };
    await freeze(createProcess(other), { count: 400, batch: 48, profile: hiding });
    expect(await inForce()).toEqual(factsWith(TRUE, 'declared').deployments[NAME]);
  });

  test('counts in whole again, as far as anybody would pay another price, when the engine hides nothing any more', async () => {
    await begin(TRUE, 'declared');
    const process = createProcess(declared);
    await freeze(process, { count: 300, batch: 48, profile: hiding });
    expect((await inForce())?.prefillFactor).toBeLessThan(0.8);
    for (let turn = 0; turn < 8; turn += 1) await freeze(process, { count: 2500, batch: 48, seed: 20 + turn });
    expect((await inForce())?.prefillFactor ?? 1).toBeGreaterThanOrEqual(0.94);
  });
});

describe.each([0.6, 1, 1.6])('a declared profile that is wrong in all terms by a factor of %d', (by) => {
  test('keeps all of its prefill: who pays is not changed by it', async () => {
    const scaled: EngineProfile = {
      iterationMs: TRUE.iterationMs * by,
      prefillTokenMs: TRUE.prefillTokenMs * by,
      prefillContextMs: TRUE.prefillContextMs * by,
      decodeStepMs: TRUE.decodeStepMs * by,
      contextTokenMs: TRUE.contextTokenMs * by,
    };
    await begin(scaled, 'declared');
    const process = createProcess({ profile: scaled, source: 'declared' });
    for (const batch of [12, 48, 24]) await freeze(process, { count: 300, batch });
    expect((await inForce())?.profile).toEqual(toProfileFemtos(scaled));
    expect((await inForce())?.prefillFactor).toBeUndefined();
  });
});

describe('an engine that departs from its profile', () => {
  const slower: EngineProfile = { ...TRUE, iterationMs: 9 * 1.4, decodeStepMs: 0.05 * 1.4 };

  test('is told once, marked in the facts, and shown', async () => {
    await begin(TRUE, 'declared');
    const process = createProcess({ profile: TRUE, source: 'declared' });
    await freeze(process, { count: 200 });
    expect(warnings).toEqual([]);
    await freeze(process, { count: 400, profile: slower, seed: 2 });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.fields).toMatchObject({ deployment: NAME, profileSource: 'declared' });
    expect(warnings[0]?.message).toContain('calibrate');
    expect((await inForce())?.profileDrift).toBeGreaterThan(0.15);
    expect((await inForce())?.profileSource).toBe('declared');
    expect(process.profiles.driftOf(NAME)).toBeGreaterThan(0.2);
    await freeze(process, { count: 600, seed: 3 });
    expect((await inForce())?.profileDrift).toBeUndefined();
  });

  test('is learned anew where the profile was learned, and what it was before is forgotten', async () => {
    const process = createProcess();
    for (const batch of [2, 12, 40]) await freeze(process, { count: 400, batch });
    expect(fromProfileFemtos((await inForce())?.profile ?? toProfileFemtos(GUESS)).iterationMs).toBeLessThan(10.5);
    for (const batch of [12, 40, 12]) await freeze(process, { count: 300, batch, profile: slower, seed: 5 });
    const deployment = await inForce();
    expect(deployment?.profileSource).toBe('learned');
    expect(fromProfileFemtos(deployment?.profile ?? toProfileFemtos(GUESS)).iterationMs).toBeGreaterThan(11.3);
    expect(deployment?.profileDrift).toBeUndefined();
  });

  test('a built-in profile is a guess: it is replaced without an alarm', async () => {
    await freeze(createProcess(), { count: 300 });
    expect(warnings).toEqual([]);
  });
});

describe('an adapter on one of two replicas', () => {
  const ADAPTER = `${NAME}-sql`;
  const slower: EngineProfile = { ...TRUE, iterationMs: 9 * 1.4, decodeStepMs: 0.05 * 1.4 };
  const both = factsWith(TRUE, 'declared').deployments[NAME];

  /** Windows of both replicas; the one with the adapter is slower than its profile says. */
  async function freezeBoth({ learner }: Process, count: number): Promise<void> {
    const firstWindow = Math.floor(nowMs / 1000);
    const plain = createEngineWindows({ profile: TRUE, batch: 12, count, firstWindow, seed: 1 });
    const slow = createEngineWindows({ profile: slower, batch: 12, count, firstWindow, seed: 2, pool: 'pool-b' });
    for (let from = 0; from < count; from += 10) {
      const some = [...plain.slice(from, from + 10), ...slow.slice(from, from + 10)];
      const board = some.map(({ publication }) => ({ journal: 'A', publication }));
      const frontier = firstWindow + from - 1;
      nowMs = (firstWindow + from + 12) * 1000;
      learner.observe(createFreezeInput({ facts: await store.readFacts(), frontier, board, nowMs }), frontier + 10);
      await learner.tick();
    }
  }

  test('is marked where its engine drifts, the other replica is not, and neither makes more versions', async () => {
    await begin(TRUE, 'declared');
    if (both === undefined) throw new Error('no facts');
    const pools = {
      'pool-a': [factsWith(TRUE, 'declared')],
      'pool-b': [createPoolFacts({ pool: 'pool-b', deployments: { [NAME]: both, [ADAPTER]: both } })],
    };
    await store.putFacts(pools, (await store.readFacts()).version);
    const process = createProcess({ profile: TRUE, source: 'declared' }, [NAME, ADAPTER]);
    await freezeBoth(process, 400);
    const { pools: now } = await store.readFacts();
    expect(now['pool-a']).toEqual(pools['pool-a']);
    expect(now['pool-b']).toHaveLength(2);
    for (const name of [NAME, ADAPTER])
      expect(now['pool-b']?.at(-1)?.deployments[name]?.profileDrift).toBeGreaterThan(0.15);
  });
});

test('deployments that are not one engine’s are not learned from', async () => {
  const process = createProcess();
  const [window] = createEngineWindows({
    profile: TRUE,
    batch: 4,
    count: 1,
    firstWindow: START,
    seed: 1,
    deployment: 'x',
  });
  if (window === undefined) throw new Error('no window');
  const facts = {
    version: 9,
    pools: {
      'pool-a': [createPoolFacts({ deployments: { x: factsWith(GUESS, 'builtin').deployments[NAME] as never } })],
    },
  };
  const board = [{ journal: 'A', publication: window.publication }];
  process.learner.observe(createFreezeInput({ facts, frontier: START - 1, board, nowMs }), START);
  nowMs += 60_000;
  await process.learner.tick();
  expect((await store.readLearned()).text).toBe('');
});
