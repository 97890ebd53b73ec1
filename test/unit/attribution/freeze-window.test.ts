// One window: the vectors of settlement.md, conservation over two levels of splitting, and what bad publications do.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BUSY_MAP_BYTES, countBusyMs, markBusy, parseBusyMap, renderBusyMap } from '#attribution/busy-map.ts';
import { freezeWindow, type JournalPublication, type WindowToFreeze } from '#attribution/freeze-window.ts';
import { splitExactly } from '#attribution/split-exactly.ts';
import { capacityNanoUsd } from '#attribution/window-capacity.ts';
import { addFeatures, createFeatures, parseFrozenWeights, weightOf } from '#attribution/work-model.ts';
import type { Publication, WindowFeatures } from '#domain/settlement.ts';
import { createPoolFacts, createPublication, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const freeze = (overrides: Partial<WindowToFreeze> = {}) =>
  freezeWindow({
    window: 0,
    facts: createPoolFacts(),
    publications: [],
    provisioned: true,
    available: true,
    observed: true,
    ...overrides,
  });

describe('capacity', () => {
  test('2.50 dollars an hour are 694444, 694444, 694445 nanodollars in the first seconds', () => {
    expect([0, 1, 2].map((at) => capacityNanoUsd(2_500_000_000n, at, at))).toEqual([694444n, 694444n, 694445n]);
  });

  test('the seconds of any hour add up to its price, however they are cut into runs', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 14n }),
        fc.nat(1e6),
        fc.array(fc.integer({ min: 1, max: 3599 }), { maxLength: 20 }),
        (hourNanoUsd, hourNumber, cuts) => {
          const hour = hourNumber * 3600;
          const starts = [...new Set([0, ...cuts])].toSorted((a, b) => a - b);
          const sum = starts.reduce(
            (all, start, index) =>
              all + capacityNanoUsd(hourNanoUsd, hour + start, hour + (starts[index + 1] ?? 3600) - 1),
            0n,
          );
          expect(sum).toBe(hourNanoUsd);
        },
      ),
    );
  });

  test('a run that crosses an hour is refused', () => {
    expect(() => capacityNanoUsd(1n, 3599, 3600)).toThrow(RangeError);
    expect(() => capacityNanoUsd(1n, 5, 4)).toThrow(RangeError);
  });
});

describe('busy maps', () => {
  test('text and bytes say the same, and the bits of a span are its milliseconds', () => {
    fc.assert(
      fc.property(fc.nat(1100), fc.nat(1100), (a, b) => {
        const map = new Uint8Array(BUSY_MAP_BYTES);
        markBusy(map, Math.min(a, b), Math.max(a, b));
        expect(countBusyMs(map)).toBe(Math.min(1000, Math.max(a, b)) - Math.min(1000, a, b));
        expect(parseBusyMap(renderBusyMap(map))).toEqual(Buffer.from(map));
      }),
    );
  });

  test('bit i is millisecond i, least significant first', () => {
    const map = new Uint8Array(BUSY_MAP_BYTES);
    markBusy(map, 9, 10);
    expect([map[0], map[1]]).toEqual([0, 2]);
  });

  test('text of another length or alphabet is no map', () => {
    expect(parseBusyMap('')).toBeNull();
    expect(parseBusyMap('A'.repeat(168))).toBeNull();
    expect(parseBusyMap(`${'*'.repeat(167)}=`)).toBeNull();
  });
});

describe('division', () => {
  test('333 busy milliseconds of second 0 charge 231249 and leave 463195; weights 7 and 5 get 134895 and 96354', () => {
    const publications = [
      { journal: 'A', publication: createPublication({ busyMs: 333, features: { p: 7, q: 0 } }) },
      { journal: 'B', publication: createPublication({ busyMs: 100, features: { p: 5, q: 0 } }) },
    ];
    const frozen = freeze({ publications });
    expect(frozen).toMatchObject({
      capacityNanoUsd: 694444n,
      chargedNanoUsd: 231249n,
      idleNanoUsd: 463195n,
      busyMs: 333,
      flightMs: 433,
      gpuMicros: 333_000n,
      provisionedSeconds: 1,
    });
    expect([...frozen.shares].map(([journal, share]) => [journal, share.nanoUsd])).toEqual([
      ['A', 134895n],
      ['B', 96354n],
    ]);
  });

  test('without modelled work the milliseconds in flight are the weight', () => {
    const features = { p: 0, q: 0 };
    const publications = [
      { journal: 'A', publication: createPublication({ busyMs: 600, features: { ...features, flightMs: 600 } }) },
      { journal: 'B', publication: createPublication({ busyMs: 300, features: { ...features, flightMs: 300 } }) },
    ];
    const frozen = freeze({ publications });
    expect(frozen.weights?.byFlight).toBe(true);
    expect(frozen.shares.get('A')?.gpuMicros).toBe(400_000n);
    expect(frozen.shares.get('B')?.gpuMicros).toBe(200_000n);
  });

  test('busy time that nobody can be charged for is idle', () => {
    const publication = createPublication({ busyMs: 500, features: { p: 0, q: 0, flightMs: 0 } });
    const frozen = freeze({ publications: [{ journal: 'A', publication }] });
    expect(frozen).toMatchObject({ chargedNanoUsd: 0n, idleNanoUsd: 694444n, gpuMicros: 0n, busyMs: 0, weights: null });
    expect(frozen.shares.get('A')).toEqual({ nanoUsd: 0n, gpuMicros: 0n, setAside: false });
  });

  test('a window with work is paid for, available and observed whatever else was said', () => {
    const publications = [{ journal: 'A', publication: createPublication({ busyMs: 500 }) }];
    const frozen = freeze({ publications, provisioned: false, available: false, observed: false });
    expect(frozen).toMatchObject({ capacityNanoUsd: 694444n, unavailableNanoUsd: 0n, unobservedNanoUsd: 0n });
  });

  test('idle time is unavailable when the engine was down, unobserved when nobody watched, never both', () => {
    expect(freeze({ available: false })).toMatchObject({ unavailableNanoUsd: 694444n, unobservedNanoUsd: 0n });
    const unwatched = freeze({ available: false, observed: false });
    expect(unwatched).toMatchObject({ unavailableNanoUsd: 0n, unobservedNanoUsd: 694444n });
    expect(freeze({ provisioned: false })).toMatchObject({ capacityNanoUsd: 0n, capacityGpuMicros: 0n });
  });

  test('before the first price GPU time is shared out and costs nothing', () => {
    const facts = createPoolFacts({ prices: [{ name: 'x', from: 10, nanoUsdPerGpuHour: '5', source: '' }] });
    const frozen = freeze({
      facts,
      publications: [{ journal: 'A', publication: createPublication({ busyMs: 1000 }) }],
    });
    expect(frozen).toMatchObject({ capacityNanoUsd: 0n, gpuMicros: 1_000_000n, nanoUsdPerGpuHour: 0n });
    expect(frozen.shares.get('A')).toEqual({ nanoUsd: 0n, gpuMicros: 1_000_000n, setAside: false });
  });
});

describe('set aside', () => {
  const good = { journal: 'A', publication: createPublication({ busyMs: 400 }) };
  const onlyGood = freeze({ publications: [good] });

  test.each<[string, Publication]>([
    ['no facts for its deployment', createPublication({ busyMs: 900, deployment: 'unknown' })],
    ['a negative feature', createPublication({ busyMs: 900, features: { p: -1 } })],
    ['a fraction', createPublication({ busyMs: 900, features: { k: 0.5 } })],
    ['a number beyond 2^53', createPublication({ busyMs: 900, features: { q: 2 ** 60 } })],
    ['nine buckets', createPublication({ busyMs: 900, features: { s: [1, 1, 1, 1, 1, 1, 1, 1, 1] } })],
    ['a bad busy map', { ...createPublication(), busy: 'AAAA' }],
    ['no features at all', { ...createPublication(), deployments: { 'llama-8b': null as unknown as WindowFeatures } }],
    ['bad sequence milliseconds', createPublication({ busyMs: 900, n: [Number.NaN] })],
  ])('a publication with %s gets zero and changes nobody else’s share', (_, publication) => {
    const frozen = freeze({ publications: [good, { journal: 'B', publication }] });
    expect(frozen.shares.get('B')).toEqual({ nanoUsd: 0n, gpuMicros: 0n, setAside: true });
    expect(frozen.shares.get('A')).toEqual(onlyGood.shares.get('A'));
    expect(frozen.chargedNanoUsd).toBe(onlyGood.chargedNanoUsd);
  });

  test('in one publication the deployment without facts weighs nothing beside the one with facts', () => {
    const publication = {
      ...createPublication({ busyMs: 500 }),
      deployments: {
        ...createPublication({ busyMs: 500 }).deployments,
        unknown: { ...createFeatures(), p: 1e6, flightMs: 1e6 },
      },
    };
    const other = { journal: 'B', publication: createPublication({ busyMs: 500 }) };
    const frozen = freeze({ publications: [{ journal: 'A', publication }, other] });
    expect(frozen.shares.get('A')?.gpuMicros).toBe(frozen.shares.get('B')?.gpuMicros);
  });

  test('a pool without facts charges nothing and gives every journal a share of zero', () => {
    const frozen = freeze({ facts: undefined, publications: [good] });
    expect(frozen).toMatchObject({ capacityNanoUsd: 0n, chargedNanoUsd: 0n, provisionedSeconds: 0, weights: null });
    expect(frozen.shares.get('A')).toEqual({ nanoUsd: 0n, gpuMicros: 0n, setAside: true });
  });
});

const count = (max: number) => fc.nat(max);
const buckets = (max: number) => fc.array(fc.nat(max), { minLength: 10, maxLength: 10 });
const slice = fc.record({
  deployment: fc.constantFrom('llama-8b', 'other', 'unknown'),
  features: fc.record({
    p: count(9000),
    q: count(1e8),
    d: count(200),
    k: count(1e6),
    s: buckets(15),
    u: buckets(100),
    flightMs: count(1000),
  }),
});

test('from capacity to the last request nothing is lost: two levels of splitting, any features, prices and journals', () => {
  const journals = fc.uniqueArray(
    fc.record({
      id: fc.constantFrom('A', 'B', 'C', 'D'),
      busyMs: fc.nat(1000),
      n: buckets(2000),
      slices: fc.array(slice),
    }),
    { selector: (journal) => journal.id },
  );
  fc.assert(
    fc.property(journals, fc.bigInt({ min: 0n, max: 10n ** 12n }), fc.nat(7199), (given, price, window) => {
      const facts = createPoolFacts({
        gpuMillionths: 4_000_000,
        prices: [{ name: 'x', from: 0, nanoUsdPerGpuHour: price.toString(), source: '' }],
        deployments: {
          'llama-8b': DEPLOYMENT_FACTS,
          other: { ...DEPLOYMENT_FACTS, profile: { ...DEPLOYMENT_FACTS.profile, t0: '1' } },
        },
      });
      const publications: JournalPublication[] = given.map(({ id, busyMs, n, slices }) => {
        const deployments: Record<string, WindowFeatures> = {};
        for (const { deployment, features } of slices) {
          deployments[deployment] ??= createFeatures();
          addFeatures(deployments[deployment], features);
        }
        return { journal: id, publication: { ...createPublication({ window, busyMs, n }), deployments } };
      });
      const frozen = freeze({ window, facts, publications });
      expect(frozen.capacityNanoUsd).toBe(frozen.chargedNanoUsd + frozen.idleNanoUsd);
      const weights = frozen.weights === null ? new Map() : parseFrozenWeights(frozen.weights);
      let lines = 0n;
      let gpuMicros = 0n;
      for (const { id, slices } of given) {
        const share = frozen.shares.get(id);
        const own = slices.map(
          (entry, index) => [`r${index}`, weightOf(entry.features, weights.get(entry.deployment))] as const,
        );
        const sum = (shares: Map<string, bigint>) => [...shares.values()].reduce((all, value) => all + value, 0n);
        expect(sum(splitExactly(share?.nanoUsd ?? 0n, own))).toBe(share?.nanoUsd);
        lines += sum(splitExactly(share?.nanoUsd ?? 0n, own));
        gpuMicros += sum(splitExactly(share?.gpuMicros ?? 0n, own));
      }
      expect(lines).toBe(frozen.chargedNanoUsd);
      expect(gpuMicros).toBe(frozen.gpuMicros);
    }),
  );
});
