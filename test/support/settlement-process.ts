// A gateway process as the settlement protocol sees it, for the model test: durable journal and facts, everything else lost at a kill.
import { createHash } from 'node:crypto';
import { BUSY_MAP_BYTES, markBusy, renderBusyMap } from '#attribution/busy-map.ts';
import { splitExactly } from '#attribution/split-exactly.ts';
import {
  addFeatures,
  createFeatures,
  createSliceFeatures,
  parseFrozenWeights,
  phaseWeights,
  weightOf,
  type SliceFeatures,
} from '#attribution/work-model.ts';
import type {
  CellIncrement,
  ChargeLine,
  Claim,
  Publication,
  ShareWindow,
  SyncMessage,
  SyncReply,
  WindowFeatures,
} from '#domain/settlement.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { hourOf } from '#domain/window.ts';

/** What one process saw of one pool in one window; `busyBuckets` are the 100 ms buckets with an attempt in flight. */
export interface WindowFacts {
  readonly pool: string;
  readonly window: number;
  readonly slices: ReadonlyMap<string, { readonly deployment: string; readonly features: SliceFeatures }>;
  readonly busyBuckets: readonly number[];
  readonly n: readonly number[];
}

/** Uniform draws of one seeded stream. */
export interface Draw {
  chance(probability: number): boolean;
  /** Integer from `low` to `high`, both inclusive. */
  integer(low: number, high: number): number;
}

/** mulberry32 over a spread seed. */
export function createDraw(seed: number): Draw {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    chance: (probability) => uniform() < probability,
    integer: (low, high) => low + Math.floor(uniform() * (high - low + 1)),
  };
}

export class ModelProcess {
  readonly journal: string;
  /** Durable: what happened, by `window pool`. */
  readonly facts = new Map<string, WindowFacts>();
  /** Durable: messages never change once they are here. */
  readonly messages: SyncMessage[] = [];
  up = true;
  backAt = 0;
  readonly #draw: Draw;
  readonly #epoch: string;
  readonly #pools: Readonly<Record<string, readonly string[]>>;
  #incarnation = 1;
  #requests = 0;
  #lastWindow: number | null = null;
  #blind: [number, number][] = [];
  /** Volatile from here. */
  #acked = 0;
  #joined = false;
  #leaving = false;
  #view: SyncReply | null = null;

  constructor(options: {
    journal: string;
    seed: number;
    epoch: string;
    pools: Readonly<Record<string, readonly string[]>>;
  }) {
    this.journal = options.journal;
    this.#draw = createDraw(options.seed);
    this.#epoch = options.epoch;
    this.#pools = options.pools;
  }

  /** True when everything is with the store and every share of the windows up to `window` was claimed, as far as this process was told. */
  isSettled(window: number): boolean {
    const view = this.#view;
    return (
      this.#acked === this.messages.length &&
      view !== null &&
      (view.frontier ?? 0) >= window &&
      view.shares.length === 0
    );
  }

  /** Works no more; the next message is its goodbye, and once that is with the store it is down until `restart`. */
  leave(): void {
    if (this.#joined) this.#leaving = true;
  }

  kill(): void {
    this.up = false;
    this.#leaving = false;
    this.#view = null;
    this.#joined = false;
    // How far the store came is not durable here: the join tells.
    this.#acked = 0;
  }

  restart(window: number): void {
    this.up = true;
    this.#incarnation += 1;
    if (this.#lastWindow !== null && this.#lastWindow < window - 1)
      this.#blind.push([this.#lastWindow + 1, window - 1]);
  }

  /** Traffic of one second: up to four slices per pool, some of a request that began earlier. */
  work(window: number): void {
    if (!this.#joined || this.#leaving) return;
    this.#lastWindow = window;
    for (const [pool, deployments] of Object.entries(this.#pools)) {
      if (!this.#draw.chance(0.4)) continue;
      const slices = new Map<string, { deployment: string; features: SliceFeatures }>();
      for (let count = this.#draw.integer(1, 4); count > 0; count -= 1) {
        const again = this.#requests > 0 && this.#draw.chance(0.4);
        if (!again) this.#requests += 1;
        const deployment = deployments[this.#draw.integer(0, deployments.length - 1)] ?? '';
        slices.set(`${this.journal}-${this.#requests}`, { deployment, features: this.#drawSlice() });
      }
      const busyBuckets = Array.from({ length: 10 }, (_, bucket) => bucket).filter(() => this.#draw.chance(0.5));
      const n = Array.from({ length: 10 }, () => this.#draw.integer(0, 900));
      this.facts.set(`${window} ${pool}`, { pool, window, slices, busyBuckets, n });
    }
  }

  /** Writes the next message once all earlier ones are with the store. */
  build(window: number, lag: number): void {
    if (!this.#joined || this.#acked < this.messages.length) return;
    const last = this.messages.at(-1);
    const before = last?.sealedThrough ?? -1;
    // What this second held is known to the last: nothing more is done here.
    const sealedThrough = Math.max(before, this.#leaving ? window : window - lag);
    const publications = [...this.facts.values()]
      .filter((facts) => facts.window > before && facts.window <= sealedThrough)
      .map(toPublication);
    const healthChanges = this.#draw.chance(0.1)
      ? [{ pool: 'pool-b', window: sealedThrough + 1, healthy: this.#draw.chance(0.6) }]
      : [];
    const view = this.#view;
    const claim =
      view !== null && view.sharesThrough.k > view.claimed && this.#draw.chance(0.7)
        ? this.#claim(this.#drawReach(view))
        : null;
    const body = {
      journal: this.journal,
      incarnation: this.#incarnation,
      epoch: this.#epoch,
      seq: this.messages.length + 1,
      prevHash: last?.hash ?? '',
      sealedThrough,
      publications,
      healthChanges,
      blind: this.#blind,
      claim,
      leave: this.#leaving,
    };
    this.#blind = [];
    this.messages.push({ ...body, hash: createHash('sha256').update(JSON.stringify(body)).digest('hex') });
  }

  /**
   * One exchange with the store: the join after a start, then the messages in order. A message keeps number, content and hash for ever;
   * the incarnation it travels under is the sender's, or the store would fence what a restart, or a failover, makes it send again.
   * Rejects when the call or its reply is lost.
   */
  async exchange(store: Pick<SettlementStore, 'join' | 'sync'>): Promise<void> {
    const incarnation = this.#incarnation;
    if (!this.#joined) {
      const reply = await store.join({ journal: this.journal, incarnation });
      if (reply.status !== 'ok') throw new Error(`${this.journal} could not join: ${reply.status}`);
      this.#accept(reply);
      this.#joined = true;
      return;
    }
    const message = this.messages[this.#acked];
    if (message === undefined) return;
    const reply = await store.sync({ ...message, incarnation });
    if (reply.status === 'fenced' || reply.status === 'foreign') {
      throw new Error(`${this.journal} was ${reply.status} at message ${message.seq}`);
    }
    this.#accept(reply);
    if (!message.leave) return;
    // A goodbye of an earlier life that was sent again: it is a member, and works on, only after another join.
    this.#joined = false;
    if (this.#leaving && this.#acked === this.messages.length) this.up = false;
    if (!this.up) this.#leaving = false;
  }

  #accept(reply: SyncReply): void {
    this.#acked = reply.seq;
    this.#view = reply;
  }

  #drawSlice(): SliceFeatures {
    const features = createSliceFeatures();
    const draw = this.#draw;
    if (draw.chance(0.15)) {
      features.flightMs = draw.integer(0, 1000);
      if (draw.chance(0.5)) features.u[draw.integer(0, 9)] = draw.integer(1, 100);
      return features;
    }
    features.p = draw.integer(0, 5000);
    features.q = features.p * features.p;
    features.d = draw.integer(0, 200);
    features.k = features.d * draw.integer(1, 4000);
    features.s = features.s.map(() => draw.integer(0, 20));
    const bucket = draw.integer(0, 9);
    features.prefillSteps[bucket] = Math.min(1, features.s[bucket] ?? 0);
    features.flightMs = draw.integer(1, 1000);
    return features;
  }

  /** Of many shares sometimes the first few alone: what is too much for one message goes with several. */
  #drawReach(view: SyncReply): SyncReply {
    if (view.shares.length < 2 || !this.#draw.chance(0.3)) return view;
    const shares = view.shares.slice(0, this.#draw.integer(1, view.shares.length - 1));
    const { k, to, hash } = shares.at(-1) ?? view.sharesThrough;
    return { ...view, shares, sharesThrough: { k, to, hash } };
  }

  #claim(view: SyncReply): Claim {
    const lines: ChargeLine[] = [];
    const pools = new Map<string, { hour: number; pool: string; nano: bigint }>();
    for (const entry of view.shares) {
      for (const share of entry.windows) {
        lines.push(...this.#linesOf(share));
        const hour = hourOf(share.window);
        const part = pools.get(`${hour} ${share.pool}`) ?? { hour, pool: share.pool, nano: 0n };
        part.nano += BigInt(share.nanoUsd);
        pools.set(`${hour} ${share.pool}`, part);
      }
    }
    const total = lines.reduce((sum, line) => sum + BigInt(line.costNanoUsd), 0n);
    return {
      k0: view.claimed,
      k: view.sharesThrough.k,
      hash: view.sharesThrough.hash,
      totalNanoUsd: total.toString(),
      lines,
      increments: sumIncrements(lines),
      pools: [...pools.values()].map(({ hour, pool, nano }) => ({ hour, pool, nanoUsd: nano.toString() })),
      records: [],
    };
  }

  /** The journal's share of one window, split among its requests, each line among its phases. */
  #linesOf(share: ShareWindow): ChargeLine[] {
    const slices = this.facts.get(`${share.window} ${share.pool}`)?.slices ?? new Map();
    const weights = share.weights === null ? new Map() : parseFrozenWeights(share.weights);
    const byRecord = [...slices].map(
      ([recordId, { deployment, features }]) => [recordId, weightOf(features, weights.get(deployment))] as const,
    );
    const gpuMicros = splitExactly(BigInt(share.gpuMicros), byRecord);
    return [...splitExactly(BigInt(share.nanoUsd), byRecord)].flatMap(([recordId, nanoUsd]) => {
      const slice = slices.get(recordId);
      const phases = Object.entries(phaseWeights(slice.features, weights.get(slice.deployment)));
      const gpu = splitExactly(gpuMicros.get(recordId) ?? 0n, phases);
      return [...splitExactly(nanoUsd, phases)]
        .filter(([phase, cost]) => cost > 0n || (gpu.get(phase) ?? 0n) > 0n)
        .map(([phase, cost]) => ({
          recordId,
          hour: hourOf(share.window),
          phase: phase as ChargeLine['phase'],
          costNanoUsd: cost.toString(),
          gpuMicros: (gpu.get(phase) ?? 0n).toString(),
        }));
    });
  }
}

function toPublication({ pool, window, slices, busyBuckets, n }: WindowFacts): Publication {
  const deployments: Record<string, WindowFeatures> = {};
  for (const { deployment, features } of slices.values()) {
    deployments[deployment] ??= createFeatures();
    addFeatures(deployments[deployment], features);
  }
  const busy = new Uint8Array(BUSY_MAP_BYTES);
  for (const bucket of busyBuckets) markBusy(busy, bucket * 100, bucket * 100 + 100);
  return { pool, window, deployments, n, busy: renderBusyMap(busy) };
}

/** One increment per record and hour. The record's id stands in for the team, so that the store's rollups tell the money of each request. */
function sumIncrements(lines: readonly ChargeLine[]): CellIncrement[] {
  const sums = new Map<
    string,
    { readonly hour: number; readonly recordId: string; readonly metrics: Record<string, bigint> }
  >();
  for (const { recordId, hour, phase, costNanoUsd, gpuMicros } of lines) {
    const sum = sums.get(`${hour} ${recordId}`) ?? { hour, recordId, metrics: {} };
    sums.set(`${hour} ${recordId}`, sum);
    const parts = { costNanoUsd, gpuMicros, [`${phase}NanoUsd`]: costNanoUsd };
    for (const [metric, amount] of Object.entries(parts)) {
      sum.metrics[metric] = (sum.metrics[metric] ?? 0n) + BigInt(amount);
    }
  }
  return [...sums.values()].map(({ hour, recordId, metrics }) => ({
    hour,
    team: recordId,
    project: '',
    keyId: '',
    model: '',
    deployment: '',
    metrics: Object.fromEntries(Object.entries(metrics).map(([metric, amount]) => [metric, amount.toString()])),
  }));
}
