import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseByPrefix, chooseLessLoaded, hashBytes, type Replica } from '#gateway/choose-replica.ts';

const replica = (name: string, load: Partial<Replica> = {}): Replica => ({
  name,
  capacity: 1,
  work: 0,
  inFlight: 0,
  ...load,
});

/** A small linear congruential generator: the same draws in each run. */
function createRandom(seed = 1): () => number {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
}

const anyReplicas = fc
  .array(
    fc.record({
      capacity: fc.double({ min: 0.1, max: 16, noNaN: true }),
      work: fc.nat(10_000),
      inFlight: fc.nat(100),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((loads) => loads.map((load, index) => replica(`r${index}`, load)));

describe('the less loaded of two', () => {
  it('is the one with less work per capacity', () => {
    const big = replica('big', { capacity: 8, work: 700, inFlight: 7 });
    const small = replica('small', { capacity: 1, work: 100, inFlight: 1 });
    for (let draw = 0; draw < 50; draw += 1) expect(chooseLessLoaded([small, big], Math.random)).toBe(big);
  });

  it('is the one with fewer requests where the work is equal', () => {
    const busy = replica('busy', { work: 100, inFlight: 5 });
    const free = replica('free', { work: 100, inFlight: 1 });
    for (let draw = 0; draw < 50; draw += 1) expect(chooseLessLoaded([busy, free], Math.random)).toBe(free);
  });

  it('is never the most loaded of several', () => {
    const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(anyReplicas, fc.array(chance, { minLength: 2, maxLength: 2 }), (replicas, chances) => {
        const draws = [...chances];
        const chosen = chooseLessLoaded(replicas, () => draws.shift() ?? 0) as Replica;
        const loads = replicas.map(({ work, capacity }) => work / capacity);
        const heavier = loads.filter((load) => load >= chosen.work / chosen.capacity).length;
        expect(heavier).toBeGreaterThanOrEqual(Math.min(2, replicas.length));
      }),
    );
  });

  it('shares idle engines out by capacity, and keeps many requests even', () => {
    const random = createRandom();
    const loads = [1, 1, 2, 4].map((capacity, index) => ({ name: `r${index}`, capacity, work: 0, inFlight: 0 }));
    for (let request = 0; request < 8000; request += 1) {
      const chosen = chooseLessLoaded(loads, random) as (typeof loads)[number];
      chosen.work += 100;
      chosen.inFlight += 1;
    }
    for (const { capacity, inFlight } of loads) expect(Math.abs(inFlight / capacity - 1000)).toBeLessThan(30);
  });

  it('is nobody where there is nobody', () => {
    expect(chooseLessLoaded([], Math.random)).toBeUndefined();
  });
});

describe('the owner of a prefix', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];

  it('is the same in any order of the replicas', () => {
    const idle = names.map((name) => replica(name));
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.shuffledSubarray(idle, { minLength: 5 }),
        (prefix, shuffled) => {
          expect(chooseByPrefix(shuffled, prefix)?.name).toBe(chooseByPrefix(idle, prefix)?.name);
        },
      ),
    );
  });

  it('stays when another replica leaves', () => {
    const idle = names.map((name) => replica(name));
    const random = createRandom(7);
    for (let round = 0; round < 500; round += 1) {
      const prefix = Math.floor(random() * 2 ** 32);
      const owner = chooseByPrefix(idle, prefix) as Replica;
      const left = idle.filter(({ name }) => name !== 'c');
      if (owner.name !== 'c') expect(chooseByPrefix(left, prefix)).toBe(owner);
    }
  });

  it('owns as many prefixes as its capacity says', () => {
    const replicas = [replica('a'), replica('b', { capacity: 3 })];
    const owned = Array.from({ length: 4000 }, (_, index) =>
      chooseByPrefix(replicas, hashBytes(Buffer.from(`prompt ${index}`))),
    ).filter((owner) => owner?.name === 'b').length;
    expect(owned / 4000).toBeGreaterThan(0.72);
    expect(owned / 4000).toBeLessThan(0.78);
  });

  it('gets no request that would put it above 1.25 times the mean, and somebody always does', () => {
    fc.assert(
      fc.property(anyReplicas, fc.integer({ min: 0, max: 2 ** 32 - 1 }), (replicas, prefix) => {
        const chosen = chooseByPrefix(replicas, prefix) as Replica;
        const requests = replicas.reduce((sum, { inFlight }) => sum + inFlight, 1);
        const capacity = replicas.reduce((sum, { capacity: own }) => sum + own, 0);
        expect(chosen.inFlight + 1).toBeLessThanOrEqual(Math.ceil((1.25 * requests * chosen.capacity) / capacity));
      }),
    );
    expect(chooseByPrefix([], 1)).toBeUndefined();
  });
});

describe('the hash of bytes', () => {
  it('is FNV-1a with 32 bits', () => {
    // Test vectors of the FNV authors (isthe.com/chongo/tech/comp/fnv).
    expect([hashBytes(Buffer.from('')), hashBytes(Buffer.from('a')), hashBytes(Buffer.from('foobar'))]).toEqual([
      0x811c9dc5, 0xe40c292c, 0xbf9cf968,
    ]);
  });
});
