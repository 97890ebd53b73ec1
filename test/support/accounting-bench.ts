// An accounting plane on virtual time over the store in memory, with a demo-like load. Not here: what is expected of it (test/unit/accounting).
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Accounting, type AccountingOptions, createAccounting } from '#accounting/create-accounting.ts';
import type { WantedFacts } from '#accounting/pool-facts-from-config.ts';
import type { ProfileOf } from '#accounting/profile-of.ts';
import { createWindowClock } from '#accounting/window-clock.ts';
import { silentLog } from '#domain/log.ts';
import type { AttemptEnd, AttemptMeter, AttemptStart } from '#domain/metering.ts';
import type { BookIncrement, CellIncrement } from '#domain/settlement.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import type { Outcome } from '#domain/usage-record.ts';
import { MemorySettlementStore } from './memory-settlement-store.ts';
import { createPoolFacts } from './settlement-facts.ts';
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts';

/** The profile of DEPLOYMENT_FACTS. */
export const PROFILE = {
  iterationMs: 4.3,
  prefillTokenMs: 0.013,
  prefillContextMs: 6e-7,
  decodeStepMs: 0.025,
  contextTokenMs: 6e-5,
};

export interface AccountingBench {
  readonly time: VirtualClock;
  readonly store: MemorySettlementStore;
  readonly dir: string;
  readonly claims: CellIncrement[];
  readonly books: BookIncrement[];
  /** The plane now running; `restart` replaces it. */
  accounting: Accounting;
  /** Lets virtual time pass in steps, with a round of settlement after each. */
  pass(ms: number, stepMs?: number): Promise<void>;
  /** Kills the plane and starts another on the same journal, `downMs` later. */
  restart(downMs: number): Promise<void>;
}

/** Creates and starts the plane. */
export async function startBench(
  options: Partial<Pick<AccountingOptions, 'horizonMs' | 'silenceMs' | 'fsync' | 'log' | 'store' | 'activity'>> & {
    readonly time?: VirtualClock;
    readonly memory?: MemorySettlementStore;
    readonly dir?: string;
    /** Default: pool-a with llama-8b. */
    readonly pools?: readonly WantedFacts[];
    readonly profileOf?: ProfileOf;
  } = {},
): Promise<AccountingBench> {
  const time = options.time ?? createVirtualClock();
  const store = options.memory ?? new MemorySettlementStore({ now: () => time.epochMs() });
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'inferometer-accounting-'));
  const claims: CellIncrement[] = [];
  const books: BookIncrement[] = [];
  const { effectiveFrom: _, ...facts } = createPoolFacts();
  const create = () =>
    createAccounting({
      store: options.store ?? (store as SettlementStore),
      journalDir: dir,
      fsync: options.fsync ?? 'off',
      horizonMs: options.horizonMs ?? 30_000,
      silenceMs: options.silenceMs ?? 900_000,
      clock: createWindowClock(time),
      log: options.log ?? silentLog,
      wantedFacts: () => new Map((options.pools ?? [facts]).map((wanted) => [wanted.pool, wanted])),
      listener: {
        claimApplied: (increments) => void claims.push(...increments),
        booksCommitted: (increments) => void books.push(...increments),
      },
      profileOf: options.profileOf ?? (() => ({ profile: PROFILE, source: 'declared' })),
      syncIntervalMs: Number.POSITIVE_INFINITY,
      books: store,
      activity: options.activity,
    });
  const bench: AccountingBench = {
    time,
    store,
    dir,
    claims,
    books,
    accounting: create(),
    async pass(ms, stepMs = 500) {
      for (let passed = 0; passed < ms; passed += stepMs) {
        time.advance(Math.min(stepMs, ms - passed));
        await bench.accounting.syncNow();
      }
    },
    async restart(downMs) {
      bench.accounting.stop();
      time.advance(downMs);
      bench.accounting = create();
      await bench.accounting.start();
    },
  };
  await bench.accounting.start();
  return bench;
}

/** A request of a team on pool-a / llama-8b. */
export function createStart(
  time: VirtualClock,
  id: string,
  overrides: Partial<AttemptStart> & { readonly team?: string; readonly stream?: boolean } = {},
): AttemptStart {
  const { team = 'search', stream = true, ...rest } = overrides;
  return {
    recordId: `${id}.1`,
    identity: {
      recordId: `${id}.1`,
      requestId: id,
      clientRequestId: null,
      attempt: 1,
      team,
      project: null,
      keyId: null,
      user: null,
      tags: {},
      requestedModel: 'llama-3.1-8b',
      model: 'llama-3.1-8b',
      deployment: 'llama-8b',
      upstream: 'trt-1',
      pool: 'pool-a',
      route: '/v1/chat/completions',
      stream,
      startedAtMs: time.epochMs(),
      clientRetry: 0,
    },
    pool: 'pool-a',
    deployment: 'llama-8b',
    work: 'tokens',
    prefillOnly: false,
    promptBytes: 4000,
    maxTokens: null,
    sequences: 1,
    atMs: time.monotonicMs(),
    ...rest,
  };
}

/** The end of that request now. */
export function createEnd(
  time: VirtualClock,
  start: AttemptStart,
  facts: { readonly prompt: number | null; readonly output: number | null; readonly outcome?: Outcome },
): AttemptEnd {
  const tokens = {
    input: facts.prompt,
    cachedInput: facts.prompt === null ? null : 0,
    output: facts.output,
    reasoning: null,
  };
  const outcome = facts.outcome ?? 'completed';
  return {
    record: {
      ...start.identity,
      endedAtMs: time.epochMs(),
      timeToFirstTokenMs: null,
      durationMs: time.epochMs() - start.identity.startedAtMs,
      outcome,
      status: outcome === 'completed' ? 200 : 502,
      lastAttempt: true,
      tokens,
      tokenSource: facts.prompt === null ? 'unknown' : 'reported',
      profileSource: 'declared',
    },
    tokens,
    tokenSource: facts.prompt === null ? 'unknown' : 'reported',
    atMs: time.monotonicMs(),
  };
}

/** One chunk of content now. */
export function sendContent(time: VirtualClock, meter: AttemptMeter, steps = 1): void {
  meter.upstreamBytes(time.monotonicMs());
  meter.content(time.monotonicMs(), steps);
}

/** Σ of one metric over hour cells or books. */
export function sumMetric(
  parts: readonly { readonly metrics: Readonly<Partial<Record<string, string>>> }[],
  metric: string,
): bigint {
  return parts.reduce((sum, part) => sum + BigInt(part.metrics[metric] ?? '0'), 0n);
}
