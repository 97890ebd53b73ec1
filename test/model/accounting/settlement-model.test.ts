// Whatever dies, hangs or is rolled back, the money of every request is what a world without faults would have charged
// (shared/design/models/settlement_model.py on the real port, frontier and split; the store is the double in memory).
import { describe, expect, test } from 'vitest';
import { openStoreFarm } from '#test/support/scheduled-stores.ts';
import { runSchedule, type Schedule, type ScheduleResult } from '#test/support/settlement-schedule.ts';

const SCHEDULES = 60;

const { createStore } = openStoreFarm('memory');

async function runAll(absences: Schedule['absences']): Promise<ScheduleResult[]> {
  const results: ScheduleResult[] = [];
  for (let seed = 1; seed <= SCHEDULES; seed += 1) {
    const result = await runSchedule({ seed, absences, createStore });
    const where = `seed ${seed}, absences ${absences} D`;
    expect(result.booked, where).toEqual(result.expected);
    expect(result.capacityNanoUsd, where).toBe(result.chargedNanoUsd + result.idleNanoUsd);
    expect(result.claimedNanoUsd, where).toBe(result.chargedNanoUsd);
    expect(
      [...result.booked.values()].reduce((sum, cost) => sum + cost, 0n),
      where,
    ).toBe(result.claimedNanoUsd);
    expect(result.alwaysCapacity.booked, where).toBe(result.alwaysCapacity.expected);
    results.push(result);
  }
  return results;
}

const total = (results: readonly ScheduleResult[], fault: keyof ScheduleResult['faults']): number =>
  results.reduce((sum, { faults }) => sum + faults[fault], 0);

describe('settlement under random faults', () => {
  test('while nobody is away for longer than D, nothing is late and every request costs what it would have cost', async () => {
    const results = await runAll('within');
    expect(results.every(({ lateWindows }) => lateWindows === 0)).toBe(true);
    // The guarantee is empty unless the schedules did contain every kind of fault, and money.
    for (const fault of ['kills', 'leaves', 'partitions', 'outages', 'lost', 'rollbacks'] as const) {
      expect(total(results, fault), fault).toBeGreaterThan(SCHEDULES / 2);
    }
    expect(results.every(({ booked }) => booked.size > 20)).toBe(true);
  });

  test('processes away for longer than D lose only what they had not published, and the books still balance', async () => {
    const results = await runAll('beyond');
    expect(results.some(({ lateWindows }) => lateWindows > 0)).toBe(true);
  });

  test('the same seed runs the same schedule', async () => {
    const [first, second] = await Promise.all(
      [7, 7].map((seed) => runSchedule({ seed, absences: 'within', createStore })),
    );
    expect(second).toEqual(first);
  });
});
