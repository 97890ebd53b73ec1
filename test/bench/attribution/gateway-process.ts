// One gateway process on virtual time: the real accounting plane with its own clocks and journal directory, and the meters it holds.
// Not here: what happens on the wire (run-engine.ts), when (replay-trace.ts).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Accounting, createAccounting } from '#accounting/create-accounting.ts';
import type { WantedFacts } from '#accounting/pool-facts-from-config.ts';
import { DeviceActivity } from '#accounting/device-activity.ts';
import { createWindowClock, type WindowClock } from '#accounting/window-clock.ts';
import { silentLog } from '#domain/log.ts';
import type { AttemptMeter } from '#domain/metering.ts';
import { ProfileLearner } from '#accounting/profile-learner.ts';
import { ProfileBook } from '#accounting/profile-of.ts';
import type { EngineProfile, ProfileSource } from '#domain/engine-profile.ts';
import type { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import type { TokenCounts } from '#domain/tokens.ts';
import { IterationCoverage } from '#telemetry/iteration-coverage.ts';
import type { IterationRow } from '#telemetry/iteration-rows.ts';
import { printPlan } from './print-plan.ts';
import type { TracedRequest } from './run-engine.ts';

/** Names of the one pool and deployment that is measured. */
export const POOL = 'pool';
export const DEPLOYMENT = 'deployment';

/** Epoch ms of the start of a run: the beginning of an hour minus a quarter, so that runs cross an hour's edge. */
export const RUN_START_MS = Date.UTC(2026, 10, 22, 9, 45, 0);

/** Virtual time shared by the store and all processes, ms since the start of the run. */
export interface RunTime {
  nowMs: number;
}

export interface ProcessOptions {
  readonly store: MemorySettlementStore;
  readonly time: RunTime;
  /** How far this machine's wall clock is off, ms. */
  readonly clockOffsetMs: number;
  readonly facts: WantedFacts;
  readonly profile: { readonly profile: EngineProfile; readonly source: ProfileSource };
  readonly cachedKnown: boolean;
  /** True: this is the process that drains the engine's iteration rows. */
  readonly readsEngine: boolean;
  /** False: what the profile is at the start it stays. */
  readonly learns: boolean;
}

/** Counters that a process adds to a score; those of earlier incarnations are included. */
export interface ProcessCounters {
  readonly late: number;
  readonly overEstimates: number;
  readonly underEstimates: number;
}

/** A process that can be killed and started again on its journal. */
export class GatewayProcess {
  readonly #options: ProcessOptions;
  readonly #journalDir = mkdtempSync(join(tmpdir(), 'inferometer-bench-'));
  readonly #meters = new Map<number, AttemptMeter>();
  #clock: WindowClock;
  #accounting: Accounting;
  #activity = new DeviceActivity();
  #coverage = new IterationCoverage();
  #counted: ProcessCounters = { late: 0, overEstimates: 0, underEstimates: 0 };

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#clock = this.#createClock();
    this.#accounting = this.#create();
  }

  /** Joins the store. */
  start(): Promise<void> {
    return this.#accounting.start();
  }

  /** Dies at once, as kill −9 would. */
  kill(): void {
    this.#counted = this.counters();
    this.#accounting.stop();
    this.#meters.clear();
  }

  /** Starts again on the same journal. */
  async restart(): Promise<void> {
    this.#clock = this.#createClock();
    this.#accounting = this.#create();
    await this.#accounting.start();
  }

  /** The one second's work of its timers: a round of settlement, and the progress of running attempts. */
  async tick(): Promise<void> {
    await this.#accounting.syncNow();
    this.#accounting.writeProgress();
  }

  /** An answer of the engine with these rows was read now. */
  readRows(rows: readonly IterationRow[]): void {
    if (rows.length === 0) return;
    for (const { fromMs, toMs, busyMs } of this.#coverage.take(rows, this.#clock.monotonicMs())) {
      const span = { fromMs: this.#clock.toEpochMs(fromMs), toMs: this.#clock.toEpochMs(toMs) };
      this.#activity.cover({ pool: POOL, source: 'engine', ...span, busyMs });
    }
  }

  /** The request goes out to the engine now. */
  begin(request: TracedRequest): void {
    const { plan } = request;
    const atMs = this.#clock.monotonicMs();
    const requestId = `r${plan.id}`;
    const meter = this.#accounting.metering.begin({
      recordId: `${requestId}.1`,
      identity: {
        recordId: `${requestId}.1`,
        requestId,
        clientRequestId: null,
        attempt: 1,
        team: plan.team,
        project: null,
        keyId: null,
        user: null,
        tags: {},
        requestedModel: 'model',
        model: 'model',
        deployment: DEPLOYMENT,
        upstream: 'engine',
        pool: POOL,
        route: '/v1/chat/completions',
        stream: plan.stream,
        startedAtMs: this.#clock.toEpochMs(atMs),
        clientRetry: 0,
      },
      pool: POOL,
      deployment: DEPLOYMENT,
      work: 'tokens',
      prefillOnly: false,
      promptBytes: plan.promptBytes,
      promptPrint: printPlan(plan),
      maxTokens: null,
      sequences: 1,
      atMs,
    });
    this.#meters.set(plan.id, meter);
  }

  /** A chunk with content came; one event, as the gateway cannot see how many tokens are in it. */
  chunk(request: TracedRequest): void {
    const meter = this.#meters.get(request.plan.id);
    const atMs = this.#clock.monotonicMs();
    meter?.upstreamBytes(atMs);
    meter?.content(atMs, 1);
  }

  /** The answer's last byte, with its usage, or the client's hang-up, without. */
  async end(request: TracedRequest): Promise<void> {
    const { plan, outcome } = request;
    const meter = this.#meters.get(plan.id);
    if (meter === undefined || outcome === 'interrupted') return;
    this.#meters.delete(plan.id);
    const atMs = this.#clock.monotonicMs();
    if (outcome === 'completed') meter.upstreamBytes(atMs);
    const epochMs = this.#clock.toEpochMs(atMs);
    const tokens = this.#readTokens(request);
    const tokenSource = outcome === 'completed' ? 'reported' : 'counted';
    await meter.finish({
      record: {
        profileSource: meter.profileSource,
        recordId: `r${plan.id}.1`,
        requestId: `r${plan.id}`,
        clientRequestId: null,
        attempt: 1,
        lastAttempt: true,
        team: plan.team,
        project: null,
        keyId: null,
        user: null,
        tags: {},
        requestedModel: 'model',
        model: 'model',
        deployment: DEPLOYMENT,
        upstream: 'engine',
        pool: POOL,
        route: '/v1/chat/completions',
        stream: plan.stream,
        startedAtMs: epochMs - (request.endAtMs - plan.sentAtMs),
        endedAtMs: epochMs,
        timeToFirstTokenMs: null,
        durationMs: request.endAtMs - plan.sentAtMs,
        outcome,
        status: outcome === 'completed' ? 200 : 499,
        clientRetry: 0,
        tokens,
        tokenSource,
      },
      tokens,
      tokenSource,
      atMs,
    });
  }

  counters(): ProcessCounters {
    const status = this.#accounting.status();
    return {
      late: this.#counted.late + status.lateCount,
      overEstimates: this.#counted.overEstimates + status.overEstimates,
      underEstimates: this.#counted.underEstimates + status.underEstimates,
    };
  }

  /** Records not settled and messages not sent; 0 when everything is in the books. */
  unsettled(): number {
    const status = this.#accounting.status();
    return status.unsettledRecords + status.journalPending;
  }

  /** Stops and deletes the journal. */
  close(): void {
    this.#accounting.stop();
    rmSync(this.#journalDir, { recursive: true, force: true });
  }

  #readTokens(request: TracedRequest): TokenCounts {
    const { plan, outcome, cachedTokens, completionTokens } = request;
    if (outcome !== 'completed')
      return { input: null, cachedInput: null, output: request.chunkAtMs.length, reasoning: null };
    if (!this.#options.cachedKnown) {
      return { input: plan.promptTokens, cachedInput: null, output: completionTokens, reasoning: null };
    }
    const cachedInput = Math.min(cachedTokens, plan.promptTokens);
    return { input: plan.promptTokens - cachedInput, cachedInput, output: completionTokens, reasoning: null };
  }

  #createClock(): WindowClock {
    const { time, clockOffsetMs } = this.#options;
    return createWindowClock({
      monotonicMs: () => time.nowMs + 5000 + clockOffsetMs / 7,
      epochMs: () => RUN_START_MS + time.nowMs + clockOffsetMs,
    });
  }

  #create(): Accounting {
    const { store, facts, profile, learns, readsEngine, time } = this.#options;
    const profiles = new ProfileBook(() => profile);
    const clock = this.#clock;
    return createAccounting({
      store,
      journalDir: this.#journalDir,
      fsync: 'off',
      horizonMs: 30_000,
      silenceMs: 900_000,
      clock: this.#clock,
      log: silentLog,
      wantedFacts: () => new Map([[facts.pool, facts]]),
      listener: { claimApplied: () => {}, booksCommitted: () => {} },
      profileOf: profiles.of,
      ...(readsEngine ? { activity: this.#activity } : {}),
      syncIntervalMs: Number.POSITIVE_INFINITY,
      ...(learns
        ? {
            learner: new ProfileLearner({
              store,
              settlement: store,
              books: store,
              profiles,
              canLearn: () => true,
              monotonicMs: () => time.nowMs,
              epochMs: () => clock.epochMs(),
              log: silentLog,
            }),
          }
        : {}),
    });
  }
}
