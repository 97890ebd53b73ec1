// Settlement of a backlog on virtual time: no message grows with what waits, and all of it is settled, exactly and soon.
import { describe, expect, it } from 'vitest';
import { computePoolBooks } from '#accounting/pool-books.ts';
import { chainFreeze, digestFreeze } from '#attribution/freeze-chain.ts';
import type { Claim, FreezeCommit, FreezeInput, ShareWindow, SyncMessage } from '#domain/settlement.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import { windowOf } from '#domain/window.ts';
import {
  type AccountingBench,
  createEnd,
  createStart,
  sendContent,
  startBench,
  sumMetric,
} from '#test/support/accounting-bench.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createPoolFacts } from '#test/support/settlement-facts.ts';
import { createVirtualClock, type VirtualClock } from '#test/support/virtual-clock.ts';

/** Of a claim that takes more than one freeze (claim.ts). */
const SLICES_PER_CLAIM = 8000;

interface Watched {
  readonly time: VirtualClock;
  readonly memory: MemorySettlementStore;
  /** The memory, away while `isAway`; what is written to it is noted. */
  readonly store: SettlementStore;
  readonly messages: SyncMessage[];
  readonly freezes: FreezeCommit[];
  isAway: boolean;
  /** Shown to the plane in place of what the store holds: with no members in it the plane freezes nothing. */
  showInput: (input: FreezeInput) => FreezeInput;
}

function watchStore(): Watched {
  const time = createVirtualClock();
  const memory = new MemorySettlementStore({ now: () => time.epochMs() });
  const watched: Watched = {
    time,
    memory,
    messages: [],
    freezes: [],
    isAway: false,
    showInput: (input) => input,
    store: new Proxy<SettlementStore>(memory, {
      get(target, property: keyof SettlementStore) {
        return async (...args: unknown[]) => {
          if (watched.isAway) throw new StoreUnavailableError('the test took the store away');
          const answer: unknown = await Reflect.apply(
            target[property] as (...args: unknown[]) => unknown,
            target,
            args,
          );
          if (property === 'sync') watched.messages.push(args[0] as SyncMessage);
          if (property === 'commitFreeze' && answer === 'committed') watched.freezes.push(args[0] as FreezeCommit);
          return property === 'readFreezeInput' ? watched.showInput(answer as FreezeInput) : answer;
        };
      },
    }),
  };
  return watched;
}

const startWatched = (watched: Watched, options: Parameters<typeof startBench>[0] = {}) =>
  startBench({ ...options, time: watched.time, memory: watched.memory, store: watched.store });

/** A second in which so many short requests run; then a round. */
async function runSecond(bench: AccountingBench, second: number, requests: number): Promise<void> {
  const running = Array.from({ length: requests }, (_, i) => {
    const start = createStart(bench.time, `r${second}-${i}`, { team: `team-${i % 3}` });
    return { start, meter: bench.accounting.metering.begin(start), prompt: 100 + ((second * 7 + i) % 900) };
  });
  bench.time.advance(400);
  for (const { meter } of running) sendContent(bench.time, meter, 3);
  bench.time.advance(300);
  for (const { start, meter, prompt } of running) {
    void meter.finish(createEnd(bench.time, start, { prompt, output: 4 }));
  }
  bench.time.advance(300);
  await bench.accounting.syncNow();
}

const claimsOf = ({ messages }: Watched): Claim[] => messages.flatMap(({ claim }) => claim ?? []);

/** The figures that a backlog must not raise: of the largest freeze and of the largest claim. */
function largest(watched: Watched) {
  const claims = claimsOf(watched);
  const workingWindows = watched.freezes.map(
    ({ shares }) => new Set(Object.values(shares).flatMap(({ windows }) => windows.map(({ window }) => window))).size,
  );
  return {
    frozenWindows: Math.max(...workingWindows),
    claimedRecords: Math.max(...claims.map(({ records }) => records.length)),
    chargedRecords: Math.max(...claims.map(({ lines }) => new Set(lines.map(({ recordId }) => recordId)).size)),
  };
}

/** All that was charged is with teams, and nothing waits. */
function expectSettled(bench: AccountingBench, watched: Watched, requests: number): void {
  const charged = sumMetric(bench.books, 'chargedNanoUsd');
  expect(sumMetric(bench.books, 'capacityNanoUsd')).toBe(charged + sumMetric(bench.books, 'idleNanoUsd'));
  expect(sumMetric(bench.claims, 'costNanoUsd')).toBe(charged);
  expect(bench.claims.filter(({ team }) => team.startsWith('('))).toEqual([]);
  expect(sumMetric(bench.claims, 'requests')).toBe(BigInt(requests));
  expect(claimsOf(watched).reduce((sum, { records }) => sum + records.length, 0)).toBe(requests);
  expect(bench.accounting.status()).toMatchObject({
    unsettledRecords: 0,
    journalPending: 0,
    lateCount: 0,
    skippedClaims: 0,
  });
}

/** Rounds, one a second, until nothing waits. */
async function countRounds(bench: AccountingBench, limit: number): Promise<number> {
  for (let rounds = 1; rounds <= limit; rounds += 1) {
    await bench.pass(1000, 1000);
    const { unsettledRecords, journalPending } = bench.accounting.status();
    if (unsettledRecords === 0 && journalPending === 0) return rounds;
  }
  return Number.POSITIVE_INFINITY;
}

/** Freezes all that is ready at once, as older processes do. */
async function freezeAllAtOnce({ memory }: Watched): Promise<void> {
  const input = await memory.readFreezeInput();
  const { board } = memory.snapshot();
  const from = (input.frontier ?? 0) + 1;
  const sealed = Math.min(...input.members.map(({ sealedThrough }) => sealedThrough));
  const to = Math.min(sealed, windowOf(input.nowMs) - 2);
  const entries = [...board.values()].filter(({ publication }) => publication.window <= to);
  if (to < from) return;
  const publications = Map.groupBy(entries, ({ publication }) => publication.window);
  const { books, shares } = computePoolBooks({ pool: 'pool-a', from, to, input, publications });
  const byJournal = Object.groupBy(shares, ({ journal }) => journal);
  const totals = Object.entries(byJournal).map(([journal, parts = []]) => {
    const windows: ShareWindow[] = parts.map(({ share }) => share);
    const total = windows.reduce((sum, { nanoUsd }) => sum + BigInt(nanoUsd), 0n);
    return [journal, { totalNanoUsd: total.toString(), windows }] as const;
  });
  const contentDigest = digestFreeze({ to, books, shares: Object.fromEntries(totals) });
  const hash = chainFreeze(input.hash, contentDigest);
  const { frontier, k, boardVersion, facts } = input;
  await memory.commitFreeze({
    expected: { frontier: frontier ?? 0, k, boardVersion, factsVersion: facts.version },
    to,
    hash,
    contentDigest,
    books,
    shares: Object.fromEntries(totals.map(([journal, share]) => [journal, { k: k + 1, to, hash, ...share }])),
    dropMembers: [],
  });
}

async function readCosts(bench: AccountingBench): Promise<Map<string, bigint>> {
  const { records } = await bench.store.readRecords({ limit: 1000 });
  return new Map(
    records.map(({ recordId, charges }) => [
      recordId,
      charges.reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd), 0n),
    ]),
  );
}

describe('settlement after an outage of the store', () => {
  it('50 seconds of 1,000 requests become freezes of one second and claims of 8,000 slices, and settle exactly', async () => {
    const watched = watchStore();
    const bench = await startWatched(watched);
    watched.isAway = true;
    for (let second = 0; second < 50; second += 1) await runSecond(bench, second, 1000);
    watched.isAway = false;
    const rounds = await countRounds(bench, 30);
    expect(largest(watched)).toEqual({
      frozenWindows: 1,
      claimedRecords: SLICES_PER_CLAIM,
      chargedRecords: SLICES_PER_CLAIM,
    });
    expectSettled(bench, watched, 50_000);
    // Several claims a round: what 50 s left is gone long before another 50 s are over.
    expect(rounds).toBeLessThanOrEqual(6);
    bench.accounting.stop();
  }, 60_000);

  it('2,000 seconds of work, more than replies have room for, settle within seconds and a long stream among them', async () => {
    const watched = watchStore();
    const bench = await startWatched(watched);
    watched.isAway = true;
    const long = createStart(bench.time, 'long');
    const meter = bench.accounting.metering.begin(long);
    for (let second = 0; second < 2000; second += 1) {
      sendContent(bench.time, meter, 5);
      await runSecond(bench, second, 2);
    }
    await meter.finish(createEnd(bench.time, long, { prompt: 300, output: 10_000 }));
    watched.isAway = false;
    const rounds = await countRounds(bench, 60);
    expect(largest(watched).frozenWindows).toBe(1);
    expect(watched.freezes.length).toBeGreaterThanOrEqual(2000);
    expectSettled(bench, watched, 4001);
    expect(rounds).toBeLessThanOrEqual(15);
    bench.accounting.stop();
  }, 60_000);

  it('requests that never reached an engine settle in claims of a bounded number of records', async () => {
    const watched = watchStore();
    const bench = await startWatched(watched);
    watched.isAway = true;
    for (let second = 0; second < 10; second += 1) {
      for (let i = 0; i < 2500; i += 1) {
        const { record } = createEnd(bench.time, createStart(bench.time, `x${second}-${i}`), {
          prompt: null,
          output: null,
        });
        const rejected = { ...record, outcome: 'rejected', status: 429, pool: null, profileSource: null } as const;
        bench.accounting.metering.recordUnsent(rejected);
      }
      await bench.pass(1000, 1000);
    }
    watched.isAway = false;
    expect(await countRounds(bench, 30)).toBeLessThanOrEqual(10);
    expect(largest(watched).claimedRecords).toBe(SLICES_PER_CLAIM);
    expect(sumMetric(bench.claims, 'rejectedRequests')).toBe(25_000n);
    bench.accounting.stop();
  }, 60_000);

  it('a freeze of many seconds, as older processes make them, is claimed whole and charges the same money', async () => {
    const costs: Map<string, bigint>[] = [];
    for (const isOlder of [false, true]) {
      const watched = watchStore();
      const bench = await startWatched(watched);
      watched.isAway = true;
      for (let second = 0; second < 30; second += 1) await runSecond(bench, second, 20);
      if (isOlder) watched.showInput = (input) => ({ ...input, members: [] });
      watched.isAway = false;
      for (let second = 0; second < 8; second += 1) {
        await bench.pass(1000, 1000);
        if (isOlder) await freezeAllAtOnce(watched);
      }
      expect(bench.accounting.status()).toMatchObject({ unsettledRecords: 0, skippedClaims: 0 });
      if (isOlder) expect(watched.freezes).toEqual([]);
      costs.push(await readCosts(bench));
      bench.accounting.stop();
    }
    const [small, large] = costs;
    expect(small?.size).toBe(600);
    expect(large).toEqual(small);
  });
});

describe('claims', () => {
  it('an attempt on GPUs that cost nothing settles, though it worked in more windows than a reply has room for', async () => {
    const watched = watchStore();
    const { effectiveFrom: _, ...facts } = createPoolFacts({
      prices: [{ name: 'free', from: 0, nanoUsdPerGpuHour: '0', source: 'test' }],
    });
    const bench = await startWatched(watched, { pools: [facts] });
    const start = createStart(bench.time, 'free');
    const meter = bench.accounting.metering.begin(start);
    for (let second = 0; second < 150; second += 1) {
      sendContent(bench.time, meter, 5);
      await bench.pass(1000, 1000);
    }
    await meter.finish(createEnd(bench.time, start, { prompt: 100, output: 750 }));
    expect(await countRounds(bench, 10)).toBeLessThanOrEqual(5);
    expectSettled(bench, watched, 1);
    bench.accounting.stop();
  });
});
