// What goes wrong in one schedule, drawn from seed and number alone, so that `--only` replays it. Pure. Not here: doing it (play-schedule.ts).
import { createSeededRandom, mixSeed, type SeededRandom } from '#simulator/seeded-random.ts';
import type { LinkMode } from '#test/support/tcp-proxy.ts';

/** Two gateways on one Redis, one gateway on Redis, or one on SQLite. */
export type Topology = 'redis-pair' | 'redis-single' | 'sqlite';

/** Where a link leads: to the store or to an engine. */
export interface LinkFault {
  readonly kind: 'link';
  readonly to: 'store' | 'engine';
  /** Gateway whose store link it is, or number of the engine. */
  readonly index: number;
  readonly mode: Exclude<LinkMode, 'pass'> | 'reset';
  readonly delayMs: number;
}

export type FaultAct =
  /** `kill` takes all processes of a gateway; `die` is one that nobody mends: another process of the host has to settle what it left. */
  | { readonly kind: 'kill' | 'die' | 'pause' | 'restart'; readonly gateway: number }
  /** Its workers end by themselves. */
  | { readonly kind: 'kill-supervisor'; readonly gateway: number }
  /** Its supervisor replaces it. */
  | { readonly kind: 'kill-worker'; readonly gateway: number; readonly worker: number }
  /** The gateway's files may grow by so many bytes, then every write fails. */
  | { readonly kind: 'disk-full'; readonly gateway: number; readonly bytesLeft: number }
  | { readonly kind: 'clock-step'; readonly gateway: number; readonly stepMs: number }
  | { readonly kind: 'redis-kill' | 'redis-pause' | 'redis-failover' }
  /** Redis has nothing any more, flushed or restarted without its files, until it is refilled from the journals. */
  | { readonly kind: 'redis-lost'; readonly how: 'flushed' | 'restarted' }
  | LinkFault;

export type FaultKind = FaultAct['kind'];

/** A fault begins `atMs` after the traffic and is mended `forMs` later. */
export type Fault = FaultAct & { readonly atMs: number; readonly forMs: number };

export interface ChaosSchedule {
  readonly seed: number;
  readonly index: number;
  readonly topology: Topology;
  readonly gateways: number;
  /** Processes that serve in gateway 0; the other has one. */
  readonly workers: number;
  /** Both gateways keep their journals below one directory, as processes of one host do. */
  readonly sharedHost: boolean;
  /** A process may die while its disk is full: what it had in memory alone is lost, the balance is not (settlement.md). */
  readonly atRisk: boolean;
  readonly trafficMs: number;
  readonly clients: number;
  readonly horizon: string;
  /** Silence after which a member is left out; short where a pause is meant to exceed it. */
  readonly silence: string;
  readonly fsync: 'true' | 'strict' | 'false';
  readonly faults: readonly Fault[];
}

const TOPOLOGIES: readonly Topology[] = ['redis-pair', 'redis-pair', 'redis-pair', 'redis-single', 'sqlite'];
/** Apart from the draws of the faults, and from those of the clients. */
const THEME_STREAM = 1000;
const THEME_SHARE = 0.15;
const LINK_MODES: readonly LinkFault['mode'][] = ['delay', 'drop', 'mute', 'refuse', 'reset'];

/** Schedule `index` of a seed: the same on every machine. */
export function drawSchedule(seed: number, index: number): ChaosSchedule {
  const random = createSeededRandom(mixSeed(seed, index));
  const topology = TOPOLOGIES[index % TOPOLOGIES.length] ?? 'redis-pair';
  const gateways = topology === 'redis-pair' ? 2 : 1;
  const trafficMs = between(random, 2500, 5000);
  const sharedHost = gateways > 1 && random.uniform() < 0.5;
  const atRisk = random.uniform() < 0.15;
  const { workers, losesBooks } = drawTheme(createSeededRandom(mixSeed(seed, index, THEME_STREAM)), topology);
  const faults = drawFaults(random, { topology, gateways, workers, losesBooks, sharedHost, atRisk, trafficMs });
  return {
    seed,
    index,
    topology,
    gateways,
    workers,
    sharedHost,
    atRisk: atRisk && losesMemory(faults),
    trafficMs,
    clients: between(random, 3, 8),
    // Lost books wait for their first freeze.
    horizon: pick(random, losesBooks ? ['1s', '1s', '3s'] : ['1s', '3s', '10s']),
    silence: random.uniform() < 0.2 ? '2s' : '15m',
    fsync: pick(random, ['true', 'true', 'strict', 'false']),
    faults,
  };
}

interface Theme {
  readonly workers: number;
  readonly losesBooks: boolean;
}

/** Few schedules have worker processes or lose the books: both cost more time than most faults. */
function drawTheme(random: SeededRandom, topology: Topology): Theme {
  const losesBooks = random.uniform() < THEME_SHARE && topology !== 'sqlite';
  return { losesBooks, workers: random.uniform() < THEME_SHARE ? 2 : 1 };
}

type Room = Pick<ChaosSchedule, 'topology' | 'gateways' | 'sharedHost' | 'atRisk' | 'trafficMs'> & Theme;

/** Two to five faults beside those of the theme; those of one victim do not overlap. */
function drawFaults(random: SeededRandom, room: Room): Fault[] {
  const faults: Fault[] = [];
  const { trafficMs } = room;
  if (room.losesBooks) {
    const how = pick(random, ['flushed', 'restarted'] as const);
    faults.push({ kind: 'redis-lost', how, atMs: between(random, 1200, trafficMs), forMs: between(random, 0, 1500) });
  }
  if (room.workers > 1)
    faults.push({
      ...drawProcessDeath(random),
      atMs: between(random, 200, trafficMs),
      forMs: between(random, 100, 2500),
    });
  const wanted = between(random, 2, 5);
  for (let tries = 0; faults.length < wanted && tries < 40; tries += 1) {
    const act = drawAct(random, room);
    const forMs = between(random, 100, 2500);
    const fault: Fault = { ...act, atMs: between(random, 200, room.trafficMs), forMs };
    if (faults.every((other) => agree(fault, other, room))) faults.push(fault);
  }
  return faults.toSorted((a, b) => a.atMs - b.atMs);
}

/** One process of the gateway that has several. */
function drawProcessDeath(random: SeededRandom): FaultAct {
  if (random.uniform() < 0.4) return { kind: 'kill-supervisor', gateway: 0 };
  return { kind: 'kill-worker', gateway: 0, worker: between(random, 0, 1) };
}

function drawAct(random: SeededRandom, { topology, gateways, workers, sharedHost, atRisk }: Room): FaultAct {
  const gateway = Math.floor(random.uniform() * gateways);
  if (gateway === 0 && workers > 1 && random.uniform() < 0.3) return drawProcessDeath(random);
  const onRedis = topology !== 'sqlite';
  if (atRisk && random.uniform() < 0.4) return { kind: 'disk-full', gateway, bytesLeft: between(random, 0, 4000) };
  const draw = random.uniform();
  if (sharedHost && draw < 0.08) return { kind: 'die', gateway };
  if (draw < 0.24) return { kind: 'kill', gateway };
  if (draw < 0.34) return { kind: 'pause', gateway };
  if (draw < 0.4) return { kind: 'restart', gateway };
  if (draw < 0.48) return { kind: 'disk-full', gateway, bytesLeft: between(random, 0, 4000) };
  if (draw < 0.56) return { kind: 'clock-step', gateway, stepMs: between(random, -2500, 2500) };
  if (onRedis && draw < 0.72) return { kind: pick(random, ['redis-kill', 'redis-pause', 'redis-failover'] as const) };
  const to = onRedis && random.uniform() < 0.6 ? 'store' : 'engine';
  const index = to === 'store' ? gateway : Math.floor(random.uniform() * 2);
  return { kind: 'link', to, index, mode: pick(random, LINK_MODES), delayMs: between(random, 20, 400) };
}

/** Whether both can happen in one schedule. */
function agree(one: Fault, other: Fault, { atRisk }: Room): boolean {
  // One gateway has to be left.
  if (one.kind === 'die' && other.kind === 'die') return false;
  // What a full disk kept out of the journal no rebuild brings back.
  const kinds = new Set([one.kind, other.kind]);
  if (kinds.has('disk-full') && kinds.has('redis-lost')) return false;
  if (victimOf(one) !== victimOf(other)) return true;
  if (!atRisk && losesMemory([one, other])) return false;
  const [first, second] = one.atMs <= other.atMs ? [one, other] : [other, one];
  if (first.kind === 'die') return false;
  // A process that is ended while its disk is full is the point of a schedule at risk; otherwise one thing after the other.
  if (atRisk && first.kind === 'disk-full' && second.kind !== 'disk-full') return true;
  return second.atMs > first.atMs + first.forMs + 300;
}

const ENDINGS: ReadonlySet<FaultKind> = new Set(['kill', 'kill-supervisor', 'kill-worker', 'die', 'restart']);

/** A full disk loses what is only in memory when its process is ended. */
function losesMemory(faults: readonly Fault[]): boolean {
  const full = new Set(faults.flatMap((fault) => (fault.kind === 'disk-full' ? [fault.gateway] : [])));
  return faults.some((fault) => 'gateway' in fault && ENDINGS.has(fault.kind) && full.has(fault.gateway));
}

function victimOf(fault: Fault): string {
  if (fault.kind === 'link') return `${fault.to} ${fault.index}`;
  return 'gateway' in fault ? `gateway ${fault.gateway}` : 'redis';
}

function between(random: SeededRandom, low: number, high: number): number {
  return low + Math.floor(random.uniform() * (high - low + 1));
}

function pick<T>(random: SeededRandom, from: readonly T[]): T {
  const found = from[Math.floor(random.uniform() * from.length)];
  if (found === undefined) throw new RangeError('nothing to pick from');
  return found;
}

/** One line such as `kill gateway 1 at 1200 ms for 800 ms`. */
export function describeFault(fault: Fault): string {
  return `${fault.kind} ${victimOf(fault)}${describeExtent(fault)} at ${fault.atMs} ms for ${fault.forMs} ms`;
}

function describeExtent(fault: Fault): string {
  switch (fault.kind) {
    case 'disk-full':
      return ` (${fault.bytesLeft} bytes left)`;
    case 'clock-step':
      return ` (by ${fault.stepMs} ms)`;
    case 'link':
      return ` (${fault.mode}${fault.mode === 'delay' ? ` ${fault.delayMs} ms` : ''})`;
    case 'kill-worker':
      return ` (worker ${fault.worker})`;
    case 'redis-lost':
      return ` (${fault.how})`;
    default:
      return '';
  }
}
