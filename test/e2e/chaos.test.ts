// The short form of the chaos suite (`npm run test:chaos` has hundreds): chosen so that every kind of fault is played. Not here: the schedules (test/chaos).
import { describe, expect, it } from 'vitest';
import { describeFault, drawSchedule } from '#test/chaos/draw-schedule.ts';
import { runSchedules } from '#test/chaos/run-schedules.ts';

const SEED = 20_261_123;
const ENDINGS = ['kill', 'kill-supervisor', 'kill-worker', 'die', 'restart'];
/** The first schedules, one that loses the books, and one of worker processes. */
const SHORT_FORM = [0, 1, 2, 3, 4, 5, 12, 20];

describe('chaos', () => {
  it('a schedule is the same for the same seed and number, and another for another', () => {
    const lines = (seed: number, index: number) => drawSchedule(seed, index).faults.map(describeFault);
    expect(lines(1, 3)).toEqual(lines(1, 3));
    expect(new Set(Array.from({ length: 20 }, (_, index) => lines(1, index).join()))).toHaveProperty('size', 20);
  });

  it('two hundred schedules hold every kind of fault; a process whose disk was full is ended only where that is the point', () => {
    const schedules = Array.from({ length: 200 }, (_, index) => drawSchedule(SEED, index));
    const kinds = new Set(schedules.flatMap(({ faults }) => faults.map((fault) => fault.kind)));
    expect([...kinds].sort()).toEqual([
      'clock-step',
      'die',
      'disk-full',
      'kill',
      'kill-supervisor',
      'kill-worker',
      'link',
      'pause',
      'redis-failover',
      'redis-kill',
      'redis-lost',
      'redis-pause',
      'restart',
    ]);
    expect(schedules.filter(({ atRisk }) => atRisk).length).toBeGreaterThan(5);
    const short = SHORT_FORM.flatMap((index) => schedules[index]?.faults.map(({ kind }) => kind) ?? []);
    expect(short).toEqual(expect.arrayContaining(['redis-lost', 'kill-supervisor', 'kill-worker']));
    for (const { faults, atRisk } of schedules) {
      if (atRisk) continue;
      const full = new Set(faults.flatMap((fault) => (fault.kind === 'disk-full' ? [fault.gateway] : [])));
      const ended = faults.flatMap((fault) =>
        'gateway' in fault && ENDINGS.includes(fault.kind) ? [fault.gateway] : [],
      );
      expect(ended.filter((gateway) => full.has(gateway))).toEqual([]);
    }
  });

  it('eight schedules, one through a rebuild, one with workers: no answer lost, none twice, tokens as the engines counted them, not a nanodollar off', async () => {
    const summary = await runSchedules({ seed: SEED, indices: SHORT_FORM, parallel: 4 });
    expect(summary.problems).toEqual([]);
    expect(summary).toMatchObject({ schedules: 8, lost: 0, doubled: 0, tokenDifference: 0, differenceNanoUsd: 0n });
    expect(summary.completed).toBeGreaterThan(60);
  });
});
