// The frontier: how far it moves, and that every second of every pool is booked once and exactly.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { advanceFrontier, computeFreeze } from '#accounting/frontier.ts';
import { computePoolBooks } from '#accounting/pool-books.ts';
import {
  BOOK_METRICS,
  type BookIncrement,
  type BookMetric,
  type FreezeCommit,
  type FreezeInput,
} from '#domain/settlement.ts';
import { createFreezeInput, createPoolFacts, createPublication } from '#test/support/settlement-facts.ts';

const options = { silenceSeconds: 900 };
const member = { journal: 'A', incarnation: 1, sealedThrough: 1e9, silentSeconds: 0, blind: [] };

function sum(books: readonly BookIncrement[], metric: BookMetric): bigint {
  return books.reduce((all, book) => all + BigInt(book.metrics[metric] ?? 0), 0n);
}

function sumShares(commit: FreezeCommit): bigint {
  return Object.values(commit.shares).reduce((all, entry) => all + BigInt(entry.totalNanoUsd), 0n);
}

/** Applies commits until the frontier stands still; at most `step` windows at a time. */
function walk(input: FreezeInput, step: number): FreezeCommit[] {
  const commits: FreezeCommit[] = [];
  let { frontier, k, hash } = input;
  for (;;) {
    const last = frontier ?? -1;
    const commit = computeFreeze(
      {
        ...input,
        frontier,
        k,
        hash,
        board: input.board.filter((entry) => entry.publication.window > last),
        nowMs: Math.min(input.nowMs, (last + step + 2) * 1000),
      },
      options,
    );
    if (commit === null) return commits;
    commits.push(commit);
    frontier = commit.to;
    hash = commit.hash;
    k += 1;
  }
}

describe('how far', () => {
  test('the frontier follows the slowest live member', () => {
    const members = [
      { ...member, sealedThrough: 50 },
      { ...member, journal: 'B', sealedThrough: 30 },
    ];
    expect(computeFreeze(createFreezeInput({ members }), options)?.to).toBe(30);
  });

  test('the frontier stays two seconds behind the clock of the store', () => {
    expect(computeFreeze(createFreezeInput({ nowMs: 100_999 }), options)?.to).toBe(98);
  });

  test('the frontier stops at the edge of an hour and goes on in the next freeze', () => {
    expect(walk(createFreezeInput({ nowMs: 7_300_000 }), 1e6).map((commit) => commit.to)).toEqual([3599, 7199, 7298]);
  });

  test('a member silent for longer than D is left out and named, one silent for D exactly is waited for', () => {
    const silent = { ...member, journal: 'B', sealedThrough: 10 };
    const gone = computeFreeze(createFreezeInput({ members: [member, { ...silent, silentSeconds: 901 }] }), options);
    expect(gone).toMatchObject({ to: 3599, dropMembers: ['B'] });
    const waiting = computeFreeze(createFreezeInput({ members: [member, { ...silent, silentSeconds: 900 }] }), options);
    expect(waiting).toMatchObject({ to: 10, dropMembers: [] });
  });

  test('nothing moves without a live member, before the first join, or behind the frontier', () => {
    expect(computeFreeze(createFreezeInput({ members: [] }), options)).toBeNull();
    expect(computeFreeze(createFreezeInput({ members: [{ ...member, silentSeconds: 1e6 }] }), options)).toBeNull();
    expect(computeFreeze(createFreezeInput({ frontier: null }), options)).toBeNull();
    expect(
      computeFreeze(createFreezeInput({ frontier: 50, members: [{ ...member, sealedThrough: 50 }] }), options),
    ).toBeNull();
  });

  test('a freeze takes one window in which anybody published, whole, and what is quiet before and behind it', () => {
    const at = (journal: string, window: number) => ({ journal, publication: createPublication({ window }) });
    const board = [at('A', 5), at('B', 5), at('A', 9), at('B', 10), at('A', 3700)];
    const commits = walk(createFreezeInput({ board, nowMs: 4_002_000 }), 1e6);
    expect(commits.map((commit) => commit.to)).toEqual([8, 9, 3599, 4000]);
    expect(commits.map((commit) => Object.keys(commit.shares))).toEqual([['A', 'B'], ['A'], ['B'], ['A']]);
  });

  test('no freeze reaches beyond the windows that the board was read for', () => {
    const board = [{ journal: 'A', publication: createPublication({ window: 5 }) }];
    const input = createFreezeInput({ board, nowMs: 4_002_000 });
    expect(computeFreeze({ ...input, boardThrough: 20 }, options)?.to).toBe(20);
    expect(computeFreeze({ ...input, board: [], boardThrough: 20 }, options)?.to).toBe(20);
    expect(computeFreeze({ ...input, boardThrough: 5 }, options)?.to).toBe(5);
  });

  test('a board read in parts and a board read whole give the same freezes', () => {
    const windows = [3, 4, 8, 9, 30, 31, 32, 900];
    const board = windows.map((window) => ({ journal: 'A', publication: createPublication({ window }) }));
    const whole = createFreezeInput({ board, nowMs: 1_002_000 });
    for (let input = whole, seen = 0; ; seen += 1) {
      const beyond = board.filter(({ publication }) => publication.window > (input.frontier ?? -1));
      const expected = computeFreeze({ ...input, board: beyond }, options);
      const [next] = beyond.slice(2);
      const parts = {
        board: beyond.slice(0, 2),
        boardThrough: next === undefined ? null : next.publication.window - 1,
      };
      expect(computeFreeze({ ...input, ...parts }, options)).toEqual(expected);
      if (expected === null) {
        expect(seen).toBe(windows.length);
        break;
      }
      input = { ...input, frontier: expected.to, k: input.k + 1, hash: expected.hash };
    }
  });
});

const scenario = fc.record({
  gpuMillionths: fc.integer({ min: 1, max: 16_000_000 }),
  price: fc.bigInt({ min: 0n, max: 100_000_000_000n }),
  secondPrice: fc.record({ from: fc.integer({ min: 0, max: 5000 }), price: fc.bigInt({ min: 0n, max: 10n ** 11n }) }),
  changedFrom: fc.integer({ min: 1, max: 5000 }),
  health: fc.array(fc.record({ window: fc.nat(5000), healthy: fc.boolean() }), { maxLength: 5 }),
  blind: fc.array(fc.tuple(fc.nat(5000), fc.nat(600)), { maxLength: 3 }),
  kind: fc.constantFrom('always' as const, 'health' as const),
  publications: fc.array(
    fc.record({
      journal: fc.constantFrom('A', 'B', 'C'),
      window: fc.nat(4999),
      busyMs: fc.nat(1000),
      p: fc.nat(5000),
      d: fc.nat(300),
      n: fc.nat(2000),
      deployment: fc.constantFrom('llama-8b', 'llama-8b', 'unknown'),
    }),
    { maxLength: 40 },
  ),
});

function inputOf(given: typeof scenario extends fc.Arbitrary<infer T> ? T : never): FreezeInput {
  const facts = createPoolFacts({
    gpuMillionths: given.gpuMillionths,
    provisioned: { kind: given.kind },
    prices: [
      { name: 'x', from: 0, nanoUsdPerGpuHour: given.price.toString(), source: '' },
      { name: 'x', from: given.secondPrice.from, nanoUsdPerGpuHour: given.secondPrice.price.toString(), source: '' },
    ],
  });
  const changed = { ...facts, effectiveFrom: given.changedFrom, gpuMillionths: given.gpuMillionths + 7 };
  return createFreezeInput({
    nowMs: 5_002_000,
    facts: { version: 1, pools: { 'pool-a': [facts, changed] } },
    members: [{ ...member, blind: given.blind.map(([from, length]) => [from, from + length] as const) }],
    health: given.health.map((change) => ({ journal: 'A', pool: 'pool-a', ...change })),
    board: given.publications.map(({ journal, window, busyMs, p, d, n, deployment }) => ({
      journal,
      publication: createPublication({
        window,
        busyMs,
        deployment,
        n: Array.from({ length: 10 }, () => n),
        features: { p, d, k: d * 700, s: Array.from({ length: 10 }, () => d) },
      }),
    })),
  });
}

describe('books', () => {
  test('capacity = charged + idle, and the shares of all journals are what was charged, whatever happened', () => {
    fc.assert(
      fc.property(scenario, (given) => {
        for (const commit of walk(inputOf(given), 1e6)) {
          const { books } = commit;
          expect(sum(books, 'capacityNanoUsd')).toBe(sum(books, 'chargedNanoUsd') + sum(books, 'idleNanoUsd'));
          expect(sumShares(commit)).toBe(sum(books, 'chargedNanoUsd'));
          const subLines = sum(books, 'unavailableNanoUsd') + sum(books, 'unobservedNanoUsd');
          expect(subLines <= sum(books, 'idleNanoUsd')).toBe(true);
          const shareGpu = Object.values(commit.shares)
            .flatMap((entry) => entry.windows)
            .reduce((all, share) => all + BigInt(share.gpuMicros), 0n);
          expect(shareGpu).toBe(sum(books, 'chargedGpuMicros'));
        }
      }),
      { numRuns: 60 },
    );
  });

  test('freezing long runs in closed form books the same as freezing window by window', () => {
    fc.assert(
      fc.property(scenario, fc.integer({ min: 1, max: 400 }), (given, step) => {
        const input = { ...inputOf(given), nowMs: 3_602_000 };
        const metrics = [
          'capacityNanoUsd',
          'chargedNanoUsd',
          'idleNanoUsd',
          'unavailableNanoUsd',
          'unobservedNanoUsd',
        ] as const;
        const long = walk(input, 1e6);
        const short = walk(input, step);
        for (const metric of [...metrics, 'capacityGpuMicros', 'provisionedSeconds', 'busyMs', 'flightMs'] as const) {
          const total = (commits: FreezeCommit[]) =>
            sum(
              commits.flatMap((commit) => commit.books),
              metric,
            );
          expect(total(short)).toBe(total(long));
        }
        const lines = (commits: FreezeCommit[]) =>
          commits.flatMap((commit) => Object.values(commit.shares).flatMap((entry) => entry.windows));
        const key = (share: { window: number; nanoUsd: string }) => `${share.window} ${share.nanoUsd}`;
        expect(lines(short).map(key).toSorted()).toEqual(lines(long).map(key).toSorted());
      }),
      { numRuns: 20 },
    );
  });

  test('one freeze over an hour, as older processes commit it, and freezes second by second give the same money', () => {
    fc.assert(
      fc.property(scenario, (given) => {
        const input = { ...inputOf(given), nowMs: 3_602_000 };
        const small = walk(input, 1e6);
        const work = input.board.filter(({ publication }) => publication.window < 3600);
        const publications = Map.groupBy(work, ({ publication }) => publication.window);
        const whole = computePoolBooks({ pool: 'pool-a', from: 0, to: 3599, input, publications });
        expect(small.at(-1)?.to).toBeGreaterThanOrEqual(3599);
        expect(small.length).toBeGreaterThanOrEqual(publications.size);
        const books = small.flatMap((commit) => commit.books).filter((book) => book.hour === 0);
        for (const metric of BOOK_METRICS) expect(sum(books, metric), metric).toBe(sum(whole.books, metric));
        const shares = small.flatMap(({ shares: given }) =>
          Object.entries(given).flatMap(([journal, { windows }]) => windows.map((share) => ({ journal, share }))),
        );
        const within = shares.filter(({ share }) => share.window < 3600);
        const key = ({ journal, share }: { journal: string; share: { window: number } }) =>
          `${share.window} ${journal}`;
        const ordered = (list: typeof within) => list.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
        expect(ordered(within)).toEqual(ordered([...whole.shares]));
      }),
      { numRuns: 40 },
    );
  });

  test('an hour of a pool with constant facts costs its price, busy or not, to the nanodollar', () => {
    fc.assert(
      fc.property(scenario, (given) => {
        const facts = createPoolFacts({
          gpuMillionths: given.gpuMillionths,
          prices: [{ name: 'x', from: 0, nanoUsdPerGpuHour: given.price.toString(), source: '' }],
        });
        const input = { ...inputOf(given), facts: { version: 1, pools: { 'pool-a': [facts] } }, nowMs: 3_602_000 };
        const books = walk(input, 1e6)
          .flatMap((commit) => commit.books)
          .filter((book) => book.hour === 0);
        const exact = (given.price * BigInt(given.gpuMillionths) + 500_000n) / 1_000_000n;
        expect(sum(books, 'capacityNanoUsd')).toBe(exact);
        expect(sum(books, 'provisionedSeconds')).toBe(3600n);
      }),
      { numRuns: 40 },
    );
  });

  test('a pool that nobody published accrues capacity as idle', () => {
    const commit = computeFreeze(createFreezeInput({ nowMs: 5000 }), options);
    expect(commit?.books).toEqual([
      {
        hour: 0,
        pool: 'pool-a',
        deployments: 'llama-8b',
        gpu: 'H100-SXM',
        metrics: {
          capacityNanoUsd: '2777777',
          idleNanoUsd: '2777777',
          capacityGpuMicros: '4000000',
          provisionedSeconds: '4',
        },
      },
    ]);
  });

  test('time in which no member watched is idle and unobserved, time in which the engine was down is unavailable', () => {
    const input = createFreezeInput({
      nowMs: 3_602_000,
      members: [{ ...member, blind: [[0, 1799]] }],
      health: [{ journal: 'A', pool: 'pool-a', window: 2700, healthy: false }],
    });
    expect(computeFreeze(input, options)?.books[0]?.metrics).toMatchObject({
      capacityNanoUsd: '2500000000',
      idleNanoUsd: '2500000000',
      unobservedNanoUsd: '1250000000',
      unavailableNanoUsd: '625000000',
    });
  });

  test('a publication for a pool without facts gets a share of zero and books nothing', () => {
    const board = [{ journal: 'A', publication: createPublication({ pool: 'nowhere', window: 3 }) }];
    const commit = computeFreeze(createFreezeInput({ board, nowMs: 12_000 }), options);
    expect(commit?.shares['A']?.windows).toEqual([
      { pool: 'nowhere', window: 3, nanoUsd: '0', gpuMicros: '0', weights: null, nanoUsdPerGpuHour: '0' },
    ]);
    expect(commit?.books.map((book) => book.pool)).toEqual(['pool-a']);
  });

  test('a pool that left the config stops accruing, but work still in flight on it is charged', () => {
    const facts = createPoolFacts();
    const input = createFreezeInput({
      nowMs: 22_000,
      facts: { version: 2, pools: { 'pool-a': [facts, { ...facts, effectiveFrom: 10, active: false }] } },
      board: [{ journal: 'A', publication: createPublication({ window: 15, busyMs: 1000 }) }],
    });
    expect(computeFreeze(input, options)?.books[0]?.metrics).toMatchObject({
      provisionedSeconds: '11',
      busyMs: '1000',
    });
  });

  test('work of a deployment that left or joined a shared pool a moment ago is charged to it, not to its neighbours', () => {
    const alone = createPoolFacts();
    const [known] = Object.values(alone.deployments);
    const both = createPoolFacts({ deployments: { ...alone.deployments, ...(known && { other: known }) } });
    for (const [before, after] of [
      [both, alone],
      [alone, both],
    ] as const) {
      const window = before === both ? 15 : 5;
      const board = [
        { journal: 'A', publication: createPublication({ window }) },
        { journal: 'B', publication: createPublication({ window, deployment: 'other' }) },
      ];
      const facts = { version: 2, pools: { 'pool-a': [before, { ...after, effectiveFrom: 10 }] } };
      const shares = computeFreeze(createFreezeInput({ nowMs: 22_000, facts, board }), options)?.shares;
      expect(shares?.['B']?.totalNanoUsd).toBe('173611');
      expect(shares?.['A']?.totalNanoUsd).toBe(shares?.['B']?.totalNanoUsd);
    }
  });

  test('the chain hash depends on the hash before, the books and the shares', () => {
    const base = createFreezeInput({ nowMs: 12_000 });
    const hash = computeFreeze(base, options)?.hash;
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(computeFreeze(structuredClone(base), options)?.hash).toBe(hash);
    expect(computeFreeze({ ...base, hash: 'other' }, options)?.hash).not.toBe(hash);
    const board = [{ journal: 'A', publication: createPublication({ window: 3 }) }];
    expect(computeFreeze({ ...base, board }, options)?.hash).not.toBe(hash);
  });
});

describe('advanceFrontier', () => {
  test('a commit that others overtook is computed again from what they left', async () => {
    let input = createFreezeInput({ nowMs: 12_000 });
    const told: BookIncrement[] = [];
    let calls = 0;
    const store = {
      readFreezeInput: async () => input,
      commitFreeze: async (commit: FreezeCommit) => {
        calls += 1;
        if (calls === 1) {
          input = { ...input, frontier: 4, k: 1, hash: 'theirs' };
          return 'stale' as const;
        }
        input = { ...input, frontier: commit.to, k: input.k + 1, hash: commit.hash };
        return 'committed' as const;
      },
    };
    const listener = { booksCommitted: (books: readonly BookIncrement[]) => void told.push(...books) };
    expect(await advanceFrontier(store, options, listener)).toEqual({ frozenThrough: 10, commits: 1 });
    expect(sum(told, 'provisionedSeconds')).toBe(6n);
  });

  test('one call makes a bounded number of commits', async () => {
    let input = createFreezeInput({ members: [{ ...member, sealedThrough: 1e9 }] });
    const store = {
      readFreezeInput: async () => input,
      commitFreeze: async (commit: FreezeCommit) => {
        input = { ...input, frontier: commit.to, k: input.k + 1, hash: commit.hash };
        return 'committed' as const;
      },
    };
    const progress = await advanceFrontier(store, { ...options, maxCommits: 5 }, { booksCommitted() {} });
    expect(progress).toEqual({ frozenThrough: 5 * 3600 - 1, commits: 5 });
  });
});
