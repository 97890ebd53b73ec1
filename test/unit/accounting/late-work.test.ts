import { describe, expect, it } from 'vitest';
import { AttemptFeatures } from '#accounting/attempt-features.ts';
import { AttemptRegistry } from '#accounting/attempt-registry.ts';
import { markLateWork, readLateCount } from '#accounting/late-work.ts';
import type { SliceLine } from '#accounting/sealed-slices.ts';
import { trackAttempt } from '#accounting/tracked-attempt.ts';
import type { SyncReply } from '#domain/settlement.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import { type AccountingBench, createEnd, createStart, startBench } from '#test/support/accounting-bench.ts';

/** A gateway cut off from a store that another one goes on with for longer than D, with one request of its own in that time. */
class CutOffGateway {
  isCutOff = true;
  /** Applies the next message with late publications and loses the answer. */
  losesReply = false;
  /** Cuts it off again once the store has told of late publications. */
  cutsAfterLate = false;
  late!: AccountingBench;
  other!: AccountingBench;

  async start(): Promise<void> {
    this.other = await startBench({ silenceMs: 5000 });
    const { time, store: memory } = this.other;
    const store = new Proxy<SettlementStore>(memory, {
      get: (target, property: keyof SettlementStore) => {
        return async (...args: never[]) => {
          if (this.isCutOff) throw new StoreUnavailableError('the test took the store away');
          const call = target[property] as (...args: never[]) => Promise<unknown>;
          const answer = await Reflect.apply(call, target, args);
          if (property === 'sync') this.#afterSync(answer as SyncReply);
          return answer;
        };
      },
    });
    this.isCutOff = false;
    this.late = await startBench({ time, memory, store, silenceMs: 5000 });
    this.isCutOff = true;
    await this.serve('late');
    await this.pass(20_000);
  }

  #afterSync({ lateCount }: SyncReply): void {
    if (lateCount === 0) return;
    this.isCutOff = this.cutsAfterLate;
    if (!this.losesReply) return;
    this.losesReply = false;
    throw new StoreUnavailableError('the test lost the reply');
  }

  /** One request of a second and a half through the gateway that is late. */
  async serve(id: string): Promise<void> {
    const start = createStart(this.late.time, id, { stream: false });
    const meter = this.late.accounting.metering.begin(start);
    await this.pass(1500);
    await meter.finish(createEnd(this.late.time, start, { prompt: 100, output: 20 }));
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 500) {
      this.late.time.advance(500);
      await this.other.accounting.syncNow();
      await this.late.accounting.syncNow();
    }
  }

  /** By record id. */
  async readLate(): Promise<Readonly<Record<string, unknown>>> {
    const { records } = await this.late.store.readRecords({ limit: 10 });
    return Object.fromEntries(
      records.map((record) => [
        record.requestId,
        { late: record.late, tokens: record.tokens.output, charges: record.charges.length },
      ]),
    );
  }

  stop(): void {
    this.late.accounting.stop();
    this.other.accounting.stop();
  }
}

async function cutOff(): Promise<CutOffGateway> {
  const gateway = new CutOffGateway();
  await gateway.start();
  return gateway;
}

const LATE = { late: true, tokens: 20, charges: 0 };

describe('late work', () => {
  it('a record says that its work came after it was frozen, with its tokens and no cost; one in time says that it did not', async () => {
    const gateway = await cutOff();
    // What the store has not told is not known.
    expect(gateway.late.accounting.unsettled()).toMatchObject([{ requestId: 'late' }]);
    expect(gateway.late.accounting.unsettled()[0]?.late ?? null).toBeNull();
    gateway.isCutOff = false;
    await gateway.pass(5000);
    await gateway.serve('intime');
    await gateway.pass(6000);
    expect(await gateway.readLate()).toEqual({ late: LATE, intime: { late: false, tokens: 20, charges: 1 } });
    expect((await gateway.late.store.readStatus()).latePublications).toBe(gateway.late.accounting.status().lateCount);
    gateway.stop();
  });

  it('it is seen before the record settles, and survives a death of the process between the two', async () => {
    const gateway = await cutOff();
    gateway.cutsAfterLate = true;
    gateway.isCutOff = false;
    await gateway.pass(5000);
    expect(gateway.isCutOff).toBe(true);
    expect(gateway.late.accounting.unsettled()).toMatchObject([{ requestId: 'late', late: true }]);
    await gateway.late.restart(500);
    expect(gateway.late.accounting.unsettled()).toMatchObject([{ requestId: 'late', late: true }]);
    gateway.cutsAfterLate = false;
    gateway.isCutOff = false;
    await gateway.pass(6000);
    expect(await gateway.readLate()).toEqual({ late: LATE });
    gateway.stop();
  });

  it('a lost answer is asked for again and says the same', async () => {
    const gateway = await cutOff();
    gateway.losesReply = true;
    gateway.isCutOff = false;
    await gateway.pass(6000);
    expect(gateway.losesReply).toBe(false);
    expect(await gateway.readLate()).toEqual({ late: LATE });
    gateway.stop();
  });
});

describe('what a message tells of late work', () => {
  const windows = [12, 10, 11].map((window) => ({ window }));

  it.each([
    ['ok', 2, 11, 2],
    ['ok', 0, 30, 0],
    ['already', 2, 30, 2],
    ['already', 0, 9, 0],
    ['already', 0, 10, null],
    ['already', 0, null, 0],
  ] as const)('%s with %i late and the frontier at %s is %s', (status, lateCount, frontier, expected) => {
    expect(readLateCount({ status, lateCount, frontier }, windows)).toBe(expected);
  });

  const registryOf = (...ids: string[]): AttemptRegistry => {
    const registry = new AttemptRegistry();
    for (const id of ids) {
      const start = { recordId: id } as Parameters<typeof trackAttempt>[0];
      registry.add(trackAttempt(start, new AttemptFeatures(0, false), 1));
    }
    return registry;
  };
  const slice = (id: string, window: number): SliceLine => [id, 'pool-a', 'llama-8b', window, [0, 0, 0, 0, 5], 0, 0, 0];
  const slices = [slice('a', 10), slice('a', 12), slice('b', 11), slice('c', 12), slice('gone', 10)];

  it.each([
    [0, [false, false, false]],
    [1, [true, false, false]],
    [2, [true, true, false]],
    [null, [null, null, null]],
  ] as const)('with %s late, the attempts of the earliest windows are marked', (lateCount, expected) => {
    const registry = registryOf('a', 'b', 'c');
    markLateWork(registry, { publications: windows, slices, lateCount });
    expect(['a', 'b', 'c'].map((id) => registry.get(id)?.late)).toEqual(expected);
  });

  it('a store that lost what it had called late is asked anew', () => {
    const [running, replayed] = [registryOf('a', 'b'), registryOf('a', 'b')];
    markLateWork(running, { publications: windows, slices, lateCount: 2 });
    markLateWork(replayed, { publications: windows, slices, lateCount: 1 });
    running.restoreFrom(replayed);
    expect([running.get('a')?.late, running.get('b')?.late]).toEqual([true, false]);
  });

  it('what is known to be late stays so where a later message is not known about', () => {
    const registry = registryOf('a');
    markLateWork(registry, { publications: windows, slices, lateCount: 1 });
    markLateWork(registry, { publications: windows, slices, lateCount: null });
    expect(registry.get('a')?.late).toBe(true);
  });
});
