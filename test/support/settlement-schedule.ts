// Runs one random schedule of joins, leaves, kills, partitions, lost calls and replies, outages and rollbacks over a settlement store on virtual time,
// and computes what a world without any of that would have charged. Ported from shared/design/models/settlement_model.py.
import { storeFacts } from '#accounting/change-facts.ts';
import { advanceFrontier } from '#accounting/frontier.ts';
import { splitExactly } from '#attribution/split-exactly.ts';
import type { BooksReader } from '#domain/books.ts';
import { factsInForce, type PoolFacts } from '#domain/pool-facts.ts';
import type { FreezeCommit } from '#domain/settlement.ts';
import { StoreUnavailableError, type SettlementStore } from '#domain/settlement-store.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from './settlement-facts.ts';
import { createDraw, ModelProcess, type Draw, type WindowFacts } from './settlement-process.ts';

/** A store on the schedule's clock; `snapshot` returns a function that puts that state back (absent: no rollbacks). */
export interface StoreUnderSchedule {
  readonly store: SettlementStore & BooksReader;
  readonly snapshot?: () => Promise<() => Promise<void>>;
  /** The store itself keeps the frontier where it stands for a while after a failover. */
  readonly holdsFrontier?: boolean;
}

export interface Schedule {
  readonly seed: number;
  /** `within`: every absence ends before D, so nothing may be late. `beyond`: processes stay away longer and are left out. */
  readonly absences: 'within' | 'beyond';
  createStore(now: () => number): Promise<StoreUnderSchedule>;
}

export interface ScheduleResult {
  /** Nanodollars by record id: in the store's rollups, and as the crash-free computation says. Zeros left out. */
  readonly booked: ReadonlyMap<string, bigint>;
  readonly expected: ReadonlyMap<string, bigint>;
  readonly capacityNanoUsd: bigint;
  readonly chargedNanoUsd: bigint;
  readonly idleNanoUsd: bigint;
  readonly claimedNanoUsd: bigint;
  /** Of the pool that is always provisioned: booked, and in closed form over the windows the frontier passed. */
  readonly alwaysCapacity: { readonly booked: bigint; readonly expected: bigint };
  /** Windows of work that no freeze holds. */
  readonly lateWindows: number;
  /** Requests that did work. */
  readonly requests: number;
  readonly faults: {
    kills: number;
    leaves: number;
    partitions: number;
    outages: number;
    lost: number;
    rollbacks: number;
  };
}

const TRAFFIC_TICKS = 50;
const QUIET_TICKS_MAX = 160;
const HOLD_TICKS = 30;
/** Begins 30 s before an hour edge, so that every schedule crosses one; in 2096, so that no store finds its rows expired. */
const START_SECOND = 4_000_000_000 - (4_000_000_000 % 3600) - 30;
const POOLS = { 'pool-a': ['llama-8b'], 'pool-b': ['llama-8b', 'tuned', 'unknown'] };
const TUNED = { ...DEPLOYMENT_FACTS, profile: { ...DEPLOYMENT_FACTS.profile, a: '77000000000', t0: '9000000000000' } };

/** Runs the schedule to its end: all processes back, everything published, frozen and claimed, or an Error saying what is stuck. */
export async function runSchedule(schedule: Schedule): Promise<ScheduleResult> {
  const world = await createWorld(schedule);
  for (let tick = 1; tick <= TRAFFIC_TICKS + QUIET_TICKS_MAX; tick += 1) {
    world.clock.nowMs += 1000;
    const quiet = tick > TRAFFIC_TICKS;
    if (quiet) endFaults(world);
    else await drawFaults(world, tick);
    await runTick(world, quiet);
    if (quiet && isDone(world)) return readResult(world);
  }
  throw new Error(`seed ${schedule.seed}: not settled ${QUIET_TICKS_MAX} s after the last fault`);
}

interface World {
  readonly schedule: Schedule;
  readonly draw: Draw;
  readonly under: StoreUnderSchedule;
  readonly processes: readonly ModelProcess[];
  readonly clock: { nowMs: number };
  /** Ticks for which a journal's calls do not reach the store. */
  readonly partitions: Map<string, number>;
  readonly faults: ScheduleResult['faults'];
  /** Committed freezes of the chain as it stands. */
  readonly chain: FreezeCommit[];
  outageTicks: number;
  holdTicks: number;
  quiet: boolean;
  rollback: { readonly restore: () => Promise<void>; readonly chainLength: number; ticks: number } | null;
}

async function createWorld(schedule: Schedule): Promise<World> {
  const clock = { nowMs: START_SECOND * 1000 + 500 };
  const under = await schedule.createStore(() => clock.nowMs);
  const { epoch } = await under.store.open();
  const processes = [0, 1, 2].map(
    (index) => new ModelProcess({ journal: `journal-${index}`, seed: schedule.seed * 10 + index, epoch, pools: POOLS }),
  );
  await processes[0]?.exchange(under.store);
  await putFacts(under.store, '2500000001');
  const draw = createDraw(schedule.seed);
  // The others start while the first is at work, so that a rollback can lose a join.
  for (const process of processes.slice(1)) {
    process.up = false;
    process.backAt = draw.integer(1, 30);
  }
  return {
    schedule,
    draw,
    under,
    processes,
    clock,
    partitions: new Map(),
    faults: { kills: 0, leaves: 0, partitions: 0, outages: 0, lost: 0, rollbacks: 0 },
    chain: [],
    outageTicks: 0,
    holdTicks: 0,
    quiet: false,
    rollback: null,
  };
}

/** Both pools at this price, under a price name of its own: pools that move to another price are never back-dated. */
async function putFacts(store: SettlementStore, nanoUsdPerGpuHour: string): Promise<void> {
  const prices = [{ name: `at-${nanoUsdPerGpuHour}`, from: 0, nanoUsdPerGpuHour, source: 'model' }];
  const shared = createPoolFacts({
    pool: 'pool-b',
    gpuMillionths: 4_000_000,
    prices,
    provisioned: { kind: 'health' },
    deployments: { 'llama-8b': DEPLOYMENT_FACTS, tuned: TUNED },
  });
  const wanted = [createPoolFacts({ prices }), shared].map((facts) => {
    const { effectiveFrom: _, ...rest } = facts;
    return [facts.pool, rest] as const;
  });
  await storeFacts({ store, journal: 'operator', wanted: new Map(wanted) });
}

async function drawFaults(world: World, tick: number): Promise<void> {
  const { draw, faults, processes, partitions } = world;
  const longest = world.schedule.absences === 'within' ? { down: 8, cut: 6 } : { down: 60, cut: 60 };
  if (world.outageTicks === 0 && draw.chance(0.02)) {
    world.outageTicks = draw.integer(1, 5);
    faults.outages += 1;
  }
  for (const process of processes) {
    if (process.up && draw.chance(0.02)) {
      process.kill();
      process.backAt = tick + draw.integer(1, longest.down);
      faults.kills += 1;
    } else if (process.up && draw.chance(0.01)) {
      // Says goodbye, and comes back some time after it was heard.
      process.leave();
      process.backAt = tick + draw.integer(3, longest.down + 3);
      faults.leaves += 1;
    } else if (!process.up && tick >= process.backAt) process.restart(windowNow(world));
    if (!partitions.has(process.journal) && draw.chance(0.01)) {
      partitions.set(process.journal, draw.integer(1, longest.cut));
      faults.partitions += 1;
    }
  }
  const { snapshot } = world.under;
  if (snapshot !== undefined && world.rollback === null && draw.chance(0.06)) {
    world.rollback = { restore: await snapshot(), chainLength: world.chain.length, ticks: draw.integer(1, 6) };
  }
}

/** A failover to a replica that had not seen the last seconds. Nothing is frozen until everybody had time to come back. */
async function failOver(world: World): Promise<void> {
  const { rollback } = world;
  if (rollback === null || --rollback.ticks > 0) return;
  await rollback.restore();
  world.chain.length = rollback.chainLength;
  world.rollback = null;
  // Longer than any store holds, since nothing may be late here; where work may be, the store's own hold is on trial.
  const isOnTrial = world.under.holdsFrontier === true && world.schedule.absences === 'beyond';
  world.holdTicks = isOnTrial ? 0 : HOLD_TICKS;
  world.faults.rollbacks += 1;
}

function endFaults(world: World): void {
  world.quiet = true;
  world.outageTicks = 0;
  world.rollback = null;
  world.partitions.clear();
  for (const process of world.processes) if (!process.up) process.restart(windowNow(world));
}

async function runTick(world: World, quiet: boolean): Promise<void> {
  const { draw, partitions } = world;
  const window = windowNow(world);
  for (const process of world.processes) {
    if (!process.up) continue;
    if (!quiet) process.work(window);
    process.build(window, quiet ? 2 : ([2, 3, 5, 10][draw.integer(0, 3)] ?? 2));
    const store = partitions.has(process.journal) ? unreachable() : flaky(world);
    // Several exchanges a tick: a process far behind catches up faster than time passes.
    for (let round = 0; round < 4; round += 1) await swallowLoss(process.exchange(store));
  }
  if (!quiet && draw.chance(0.02)) await swallowLoss(putFacts(flaky(world), String(draw.integer(0, 5e9))));
  if (world.holdTicks > 0) world.holdTicks -= 1;
  else await swallowLoss(advanceFrontier(flaky(world), { silenceSeconds: silence(world) }, { booksCommitted() {} }));
  for (const [journal, ticks] of partitions) {
    if (ticks <= 1) partitions.delete(journal);
    else partitions.set(journal, ticks - 1);
  }
  if (world.outageTicks > 0) world.outageTicks -= 1;
  await failOver(world);
}

function silence(world: World): number {
  return world.schedule.absences === 'within' ? 60 : 12;
}

function windowNow(world: World): number {
  return Math.floor(world.clock.nowMs / 1000);
}

/** The store through a bad network: one call in twenty is lost, one in twenty loses its reply. Committed freezes are noted. */
function flaky(world: World): SettlementStore {
  const { store } = world.under;
  const call = async <T>(run: () => Promise<T>): Promise<T> => {
    const fate = world.quiet ? 100 : world.draw.integer(1, 100);
    if (world.outageTicks > 0 || fate <= 5) {
      world.faults.lost += 1;
      throw new StoreUnavailableError('the call was lost');
    }
    const result = await run();
    if (fate > 10) return result;
    world.faults.lost += 1;
    throw new StoreUnavailableError('the reply was lost');
  };
  return {
    open: () => call(() => store.open()),
    readEpoch: () => call(() => store.readEpoch()),
    now: () => call(() => store.now()),
    join: (member) => call(() => store.join(member)),
    sync: (message, text) => call(() => store.sync(message, text)),
    readFreezeInput: () => call(() => store.readFreezeInput()),
    putFacts: (pools, version) => call(() => store.putFacts(pools, version)),
    commitFreeze: (commit) =>
      call(async () => {
        const status = await store.commitFreeze(commit);
        if (status === 'committed') world.chain.push(commit);
        return status;
      }),
    close: async () => {},
  };
}

function unreachable(): Pick<SettlementStore, 'join' | 'sync'> {
  const refuse = (): never => {
    throw new StoreUnavailableError('partitioned');
  };
  return { join: async () => refuse(), sync: async () => refuse() };
}

async function swallowLoss(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
  }
}

function isDone({ processes }: World): boolean {
  const lastWork = Math.max(
    START_SECOND,
    ...processes.flatMap((process) => [...process.facts.values()].map((facts) => facts.window)),
  );
  return processes.every((process) => process.isSettled(lastWork));
}

async function readResult(world: World): Promise<ScheduleResult> {
  const { store } = world.under;
  const hour = START_SECOND - (START_SECOND % 3600);
  const period = { from: hour, to: hour + 4 * 3600 };
  const cells = await store.readRollups(period, 'hour');
  const booked = new Map<string, bigint>();
  for (const cell of cells) addTo(booked, cell.team, cell.metrics.costNanoUsd);
  const books = await store.readBooks(period);
  const sum = (
    metric: 'capacityNanoUsd' | 'chargedNanoUsd' | 'idleNanoUsd' | 'claimedNanoUsd',
    pool?: string,
  ): bigint =>
    books
      .filter((cell) => pool === undefined || cell.pool === pool)
      .reduce((all, cell) => all + cell.metrics[metric], 0n);
  const facts = await store.readFacts();
  const frontier = (await store.readStatus()).frontier ?? 0;
  const first = Math.min(...Object.values(facts.pools).map((versions) => versions[0]?.effectiveFrom ?? 0));
  let always = 0n;
  for (let window = first; window <= frontier; window += 1) {
    const inForce = factsInForce(facts, 'pool-a', window);
    if (inForce !== undefined) always += capacityOf(inForce, window);
  }
  return {
    booked: withoutZeros(booked),
    ...expectMoney(world, (pool, window) => factsInForce(facts, pool, window)),
    capacityNanoUsd: sum('capacityNanoUsd'),
    chargedNanoUsd: sum('chargedNanoUsd'),
    idleNanoUsd: sum('idleNanoUsd'),
    claimedNanoUsd: sum('claimedNanoUsd'),
    alwaysCapacity: { booked: sum('capacityNanoUsd', 'pool-a'), expected: always },
    requests: new Set(
      world.processes.flatMap(({ facts }) => [...facts.values()].flatMap(({ slices }) => [...slices.keys()])),
    ).size,
    faults: world.faults,
  };
}

/** The crash-free computation: every window once, from what the processes saw, of those that were not late. Written from settlement.md. */
function expectMoney(
  world: World,
  factsOf: (pool: string, window: number) => PoolFacts | undefined,
): Pick<ScheduleResult, 'expected' | 'lateWindows'> {
  const held = new Set<string>();
  for (const commit of world.chain) {
    for (const [journal, entry] of Object.entries(commit.shares)) {
      for (const { window, pool } of entry.windows) held.add(`${journal} ${window} ${pool}`);
    }
  }
  const byWindow = new Map<string, { readonly journal: string; readonly facts: WindowFacts }[]>();
  let lateWindows = 0;
  for (const { journal, facts: seen } of world.processes) {
    for (const [id, facts] of seen) {
      if (held.has(`${journal} ${id}`)) byWindow.set(id, [...(byWindow.get(id) ?? []), { journal, facts }]);
      else lateWindows += 1;
    }
  }
  const expected = new Map<string, bigint>();
  for (const parts of byWindow.values()) {
    const { pool = '', window = 0 } = parts[0]?.facts ?? {};
    const facts = factsOf(pool, window);
    if (facts !== undefined) expectWindow(parts, facts, expected);
  }
  return { expected: withoutZeros(expected), lateWindows };
}

function expectWindow(
  all: readonly { readonly journal: string; readonly facts: WindowFacts }[],
  pool: PoolFacts,
  expected: Map<string, bigint>,
): void {
  const parts = all.filter(({ facts }) =>
    [...facts.slices.values()].some(({ deployment }) => deployment in pool.deployments),
  );
  const first = parts[0];
  if (first === undefined) return;
  const busyMs = new Set(parts.flatMap(({ facts }) => facts.busyBuckets)).size * 100;
  const sequenceMs = Array.from({ length: 10 }, (_, bucket) =>
    Math.max(
      100,
      parts.reduce((sum, { facts }) => sum + (facts.n[bucket] ?? 0), 0),
    ),
  );
  const charged = (capacityOf(pool, first.facts.window) * BigInt(busyMs)) / 1000n;
  const weigh = (byFlight: boolean) =>
    parts.map(({ journal, facts }) => ({
      journal,
      slices: [...facts.slices].map(([id, { deployment, features }]) => {
        const profile = pool.deployments[deployment]?.profile;
        if (profile === undefined) return [id, 0n] as const;
        if (byFlight) return [id, BigInt(features.flightMs)] as const;
        let weight = BigInt(profile.a) * BigInt(features.p) + BigInt(profile.halfQ) * BigInt(features.q);
        weight += BigInt(profile.d) * BigInt(features.d) + BigInt(profile.k) * BigInt(features.k);
        for (const [bucket, count] of sequenceMs.entries()) {
          weight += ((BigInt(profile.t0) * 100n) / BigInt(count)) * BigInt(features.s[bucket] ?? 0);
          weight += (10n ** 14n / BigInt(count)) * BigInt(features.u[bucket] ?? 0);
        }
        return [id, weight] as const;
      }),
    }));
  const total = (weighed: ReturnType<typeof weigh>) =>
    weighed.flatMap(({ slices }) => slices).reduce((sum, [, weight]) => sum + weight, 0n);
  const byWork = weigh(false);
  const weighed = total(byWork) > 0n ? byWork : weigh(true);
  const shares = splitExactly(
    charged,
    weighed.map(({ journal, slices }) => [journal, slices.reduce((sum, [, weight]) => sum + weight, 0n)] as const),
  );
  for (const { journal, slices } of weighed) {
    for (const [id, nanoUsd] of splitExactly(shares.get(journal) ?? 0n, slices)) addTo(expected, id, nanoUsd);
  }
}

function capacityOf(facts: PoolFacts, window: number): bigint {
  const price = facts.prices.findLast((entry) => entry.from <= window);
  const hourNanoUsd = (BigInt(price?.nanoUsdPerGpuHour ?? 0) * BigInt(facts.gpuMillionths) + 500_000n) / 1_000_000n;
  const second = BigInt(window % 3600);
  return (hourNanoUsd * (second + 1n)) / 3600n - (hourNanoUsd * second) / 3600n;
}

function addTo(sums: Map<string, bigint>, id: string, amount: bigint): void {
  sums.set(id, (sums.get(id) ?? 0n) + amount);
}

function withoutZeros(sums: ReadonlyMap<string, bigint>): ReadonlyMap<string, bigint> {
  return new Map([...sums].filter(([, amount]) => amount !== 0n).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
