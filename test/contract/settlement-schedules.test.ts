// The settlement model over the real stores, in short; `node test/soak/settlement-schedules.ts` runs thousands.
import { describe, expect, inject, it } from 'vitest';
import { runSchedules, type SchedulesResult } from '#test/support/run-schedules.ts';
import { openStoreFarm, type StoreKind } from '#test/support/scheduled-stores.ts';

const SCHEDULES = 40;
const KINDS: readonly StoreKind[] = ['redis', 'sqlite'];

describe.each(KINDS)('random faults over %s', (kind) => {
  it('the money of every request is what a world without faults charges, or its work is counted late', async () => {
    const farm = openStoreFarm(kind, inject('redisUrl'));
    let result: SchedulesResult;
    try {
      result = await runSchedules({ farm, schedules: SCHEDULES, seed: 1 });
    } finally {
      await farm.close();
    }
    expect(result.problems).toEqual([]);
    expect(result.differenceNanoUsd).toBe(0n);
    // The guarantee is empty unless the schedules held every kind of fault, and money.
    for (const [fault, count] of Object.entries(result.faults)) expect(count, fault).toBeGreaterThan(SCHEDULES / 2);
    expect(result.requests).toBeGreaterThan(SCHEDULES * 20);
    expect(result.lateWindows).toBeGreaterThan(0);
  }, 300_000);
});
