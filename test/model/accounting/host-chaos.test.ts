// Several processes of one host, killed, drained and started again at random under load, on a store that loses replies and writes:
// whoever adopts whose journal, each request has one record, and their money is what the books charged.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Accounting } from '#accounting/create-accounting.ts';
import { createHostAccounting } from '#accounting/host-accounting.ts';
import { createWindowClock } from '#accounting/window-clock.ts';
import { silentLog } from '#domain/log.ts';
import type { AttemptMeter, AttemptStart } from '#domain/metering.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import { createEnd, createStart, PROFILE, sendContent } from '#test/support/accounting-bench.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createPoolFacts } from '#test/support/settlement-facts.ts';
import { createDraw, type Draw } from '#test/support/settlement-process.ts';
import { createVirtualClock, type VirtualClock } from '#test/support/virtual-clock.ts';

const PROCESSES = 3;
const STEPS = 160;
const STEP_MS = 250;

interface Live {
  readonly start: AttemptStart;
  readonly meter: AttemptMeter;
  readonly untilStep: number;
}

interface Place {
  accounting: Accounting | null;
  backAtStep: number;
  live: Live[];
}

/** A store of which one reply in thirty is lost, until `isCalm`. */
function createLossy(inner: MemorySettlementStore, draw: Draw, calm: { isCalm: boolean }): SettlementStore {
  return new Proxy<SettlementStore>(inner, {
    get:
      (target, property: keyof SettlementStore) =>
      async (...args: never[]) => {
        const answer: unknown = await Reflect.apply(target[property] as (...args: never[]) => unknown, target, args);
        if (!calm.isCalm && property !== 'readFreezeInput' && draw.chance(1 / 30))
          throw new StoreUnavailableError('the schedule lost the reply');
        return answer;
      },
  });
}

class Host {
  readonly time: VirtualClock = createVirtualClock();
  readonly memory = new MemorySettlementStore({ now: () => this.time.epochMs() });
  readonly begun = new Set<string>();
  readonly events: string[] = [];
  readonly places: Place[] = Array.from({ length: PROCESSES }, () => ({ accounting: null, backAtStep: 0, live: [] }));
  readonly calm = { isCalm: false };
  readonly #root = mkdtempSync(join(tmpdir(), 'inferometer-host-'));
  readonly #draw: Draw;
  readonly #store: SettlementStore;

  constructor(seed: number) {
    this.#draw = createDraw(seed);
    this.#store = createLossy(this.memory, this.#draw, this.calm);
  }

  async step(step: number): Promise<void> {
    this.time.advance(STEP_MS);
    for (const [index, place] of this.places.entries()) {
      if (place.accounting === null && step >= place.backAtStep) await this.start(place);
      if (place.accounting === null) continue;
      this.#work(place, `p${index}s${step}`, step);
      if (step % 4 === 0) place.accounting.writeProgress();
      if (this.#draw.chance(0.7)) await place.accounting.syncNow();
      await this.#fate(place, step);
    }
    // Adoption goes by timers of its own.
    await new Promise((resolve) => setImmediate(resolve));
  }

  async start(place: Place): Promise<void> {
    const { effectiveFrom: _, ...facts } = createPoolFacts();
    place.accounting = createHostAccounting({
      store: this.#store,
      journalRoot: this.#root,
      fsync: 'off',
      horizonMs: 8000,
      silenceMs: 900_000,
      clock: createWindowClock(this.time),
      log: silentLog,
      wantedFacts: () => new Map([[facts.pool, facts]]),
      listener: { claimApplied() {}, booksCommitted() {} },
      profileOf: () => ({ profile: PROFILE, source: 'declared' }),
      syncIntervalMs: Number.POSITIVE_INFINITY,
      adoptionIntervalMs: 5,
    });
    await place.accounting.start();
  }

  /** Requests end and are settled, whoever holds their journals. */
  async calmDown(): Promise<void> {
    this.calm.isCalm = true;
    for (const place of this.places) {
      if (place.accounting === null) await this.start(place);
      for (const { start, meter } of place.live)
        void meter.finish(createEnd(this.time, start, { prompt: 400, output: 40 }));
    }
    const settle = async () => {
      this.time.advance(1000);
      for (const { accounting } of this.places) await accounting?.syncNow();
      const owed = this.places.map(({ accounting }) => accounting?.status());
      return owed.reduce((sum, status) => sum + (status?.unsettledRecords ?? 0) + (status?.adoptedJournals ?? 0), 0);
    };
    await expect.poll(settle, { timeout: 15_000, interval: 20 }).toBe(0);
  }

  #work(place: Place, id: string, step: number): void {
    const { accounting } = place;
    if (accounting === null) return;
    if (this.#draw.chance(0.4)) {
      const start = createStart(this.time, id, { team: `team-${step % 3}`, promptBytes: 2000 });
      const untilStep = step + this.#draw.integer(1, 40);
      place.live.push({ start, meter: accounting.metering.begin(start), untilStep });
      this.begun.add(`${id}.1`);
    }
    for (const { start, meter, untilStep } of place.live) {
      sendContent(this.time, meter, this.#draw.integer(1, 5));
      if (step >= untilStep) void meter.finish(createEnd(this.time, start, { prompt: 400 + step, output: 40 }));
    }
    place.live = place.live.filter(({ untilStep }) => step < untilStep);
  }

  async #fate(place: Place, step: number): Promise<void> {
    if (this.#draw.chance(0.03)) {
      this.events.push('kill');
      place.accounting?.stop();
    } else if (place.live.length === 0 && this.#draw.chance(0.2)) {
      this.events.push('drain');
      await place.accounting?.drain(0);
    } else return;
    Object.assign(place, { accounting: null, live: [], backAtStep: step + this.#draw.integer(1, 60) });
  }
}

describe('processes of one host', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'schedule %i: one record for each request, and their money is what the books charged',
    async (seed) => {
      const host = new Host(seed);
      for (let step = 0; step < STEPS; step += 1) await host.step(step);
      await host.calmDown();
      const { records } = await host.memory.readRecords({ limit: 1000 });
      const where = host.events.join(', ');
      expect(host.events.filter((event) => event === 'kill').length, where).toBeGreaterThan(0);
      expect(records.map(({ recordId }) => recordId).toSorted(), where).toEqual([...host.begun].toSorted());
      const books = await host.memory.readBooks({ from: 0, to: 4_000_000_800 });
      const sum = (metric: 'capacityNanoUsd' | 'chargedNanoUsd' | 'idleNanoUsd' | 'claimedNanoUsd') =>
        books.reduce((total, cell) => total + cell.metrics[metric], 0n);
      const costs = records
        .flatMap(({ charges }) => charges)
        .reduce((total, { costNanoUsd }) => total + BigInt(costNanoUsd), 0n);
      expect(sum('chargedNanoUsd')).toBeGreaterThan(0n);
      expect(costs, where).toBe(sum('chargedNanoUsd'));
      expect(sum('claimedNanoUsd')).toBe(sum('chargedNanoUsd'));
      expect(sum('capacityNanoUsd')).toBe(sum('chargedNanoUsd') + sum('idleNanoUsd'));
      for (const { accounting } of host.places) {
        expect(accounting?.status(), where).toMatchObject({ stoppedBecause: null, lateCount: 0 });
        accounting?.stop();
      }
    },
    30_000,
  );
});
