// Busy time by source: what the engine's rows or DCGM cover is read from them, the rest from requests in flight.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseActivity, readBusyTime, sumDeviceActiveMs } from '#attribution/busy-time.ts';
import { freezeWindow, type JournalPublication } from '#attribution/freeze-window.ts';
import type { WindowActivity } from '#domain/busy-source.ts';
import type { Publication } from '#domain/settlement.ts';
import { createPoolFacts, createPublication } from '#test/support/settlement-facts.ts';

const engine = (fromMs: number, toMs: number, busyMs: number): WindowActivity => ({
  source: 'engine',
  fromMs,
  toMs,
  busyMs,
});
const whole = (busyMs: number) => engine(0, 1000, busyMs);

/** A publication without work: what the process that asks the engine tells of a window in which only others work. */
const teller = (parts: Partial<Publication>): Publication => ({
  ...createPublication({ busyMs: 0, ...parts }),
  deployments: {},
});

const freeze = (publications: readonly JournalPublication[]) =>
  freezeWindow({
    window: 0,
    facts: createPoolFacts(),
    publications,
    provisioned: true,
    available: true,
    observed: true,
  });

describe('B', () => {
  test('without activity it is the milliseconds in flight', () => {
    expect(readBusyTime([createPublication({ busyMs: 500 })], null)).toEqual({
      busyMs: 500,
      source: 'in_flight',
      inFlightMs: 500,
    });
  });

  test('a window that is covered whole has the engine busy time, and never more than was in flight', () => {
    const flight = [createPublication({ busyMs: 800 })];
    expect(readBusyTime(flight, whole(640)).busyMs).toBe(640);
    expect(readBusyTime(flight, whole(1000)).busyMs).toBe(800);
    expect(readBusyTime(flight, whole(0))).toEqual({ busyMs: 0, source: 'engine', inFlightMs: 800 });
  });

  test('what the rows do not cover is read from requests in flight', () => {
    // In flight 0 … 800; the rows reach to 300 and were busy for 100 of it.
    expect(readBusyTime([createPublication({ busyMs: 800 })], engine(0, 300, 100)).busyMs).toBe(100 + 500);
    expect(readBusyTime([createPublication({ busyMs: 800 })], engine(700, 1000, 20)).busyMs).toBe(20 + 700);
  });

  test('it stays within 0 and the time in flight for any activity', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(1000), fc.nat(1000), fc.nat(1000), (flightMs, a, b, busy) => {
        const [fromMs, toMs] = [Math.min(a, b), Math.max(a, b)];
        const { busyMs, inFlightMs } = readBusyTime(
          [createPublication({ busyMs: flightMs })],
          engine(fromMs, toMs, Math.min(busy, toMs - fromMs)),
        );
        expect(inFlightMs).toBe(flightMs);
        expect(busyMs).toBeGreaterThanOrEqual(0);
        expect(busyMs).toBeLessThanOrEqual(flightMs);
      }),
    );
  });
});

describe('which activity', () => {
  test('the engine goes before DCGM and more coverage before less, in whatever order they come', () => {
    const dcgm = { ...whole(900), source: 'dcgm' } as const;
    const told = [dcgm, engine(0, 400, 10), engine(0, 900, 20)].map((activity) => createPublication({ activity }));
    expect(chooseActivity(told)).toEqual(engine(0, 900, 20));
    expect(chooseActivity(told.toReversed())).toEqual(engine(0, 900, 20));
    expect(chooseActivity([createPublication(), createPublication({ activity: dcgm })])).toEqual(dcgm);
  });

  test('one that makes no sense is ignored, and the work beside it is still priced', () => {
    const bad = [
      engine(0, 1001, 1),
      engine(500, 500, 0),
      engine(0, 100, 101),
      engine(-1, 5, 0),
      engine(0, 10, 0.5),
      { source: 'guess' },
      7,
      null,
    ];
    for (const activity of bad) {
      const publication = createPublication({ activity: activity as WindowActivity });
      expect(chooseActivity([publication])).toBeNull();
      expect(freeze([{ journal: 'A', publication }]).shares.get('A')?.setAside).toBe(false);
    }
  });
});

describe('a frozen window', () => {
  test('takes its busy time from the process that asks the engine, and its work from all others', () => {
    const frozen = freeze([
      { journal: 'A', publication: createPublication({ busyMs: 800 }) },
      { journal: 'B', publication: teller({ activity: whole(333) }) },
    ]);
    // The vector of settlement.md: B = 333 of second 0.
    expect(frozen).toMatchObject({
      chargedNanoUsd: 231_249n,
      idleNanoUsd: 463_195n,
      busyMs: 333,
      busySource: 'engine',
    });
    expect([...frozen.shares]).toEqual([['A', { nanoUsd: 231_249n, gpuMicros: 333_000n, setAside: false }]]);
  });

  test('in which only the engine was busy charges nobody: nothing of ours was in flight', () => {
    const frozen = freeze([{ journal: 'B', publication: teller({ activity: whole(700), deviceActiveMs: 650 }) }]);
    expect(frozen).toMatchObject({ chargedNanoUsd: 0n, idleNanoUsd: 694_444n, busyMs: 0, deviceActiveMs: 650 });
    expect(frozen.shares.size).toBe(0);
  });

  test('charged and idle are the capacity to the nanodollar, whatever the activity', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(1000), fc.nat(1000), (flightMs, toMs, busy) => {
        const activity = engine(0, Math.max(1, toMs), Math.min(busy, Math.max(1, toMs)));
        const frozen = freeze([
          { journal: 'A', publication: createPublication({ busyMs: flightMs }) },
          { journal: 'C', publication: createPublication({ busyMs: flightMs / 2 }) },
          { journal: 'B', publication: teller({ activity }) },
        ]);
        const shares = [...frozen.shares.values()].reduce((sum, { nanoUsd }) => sum + nanoUsd, 0n);
        expect(frozen.chargedNanoUsd + frozen.idleNanoUsd).toBe(694_444n);
        expect(shares).toBe(frozen.chargedNanoUsd);
      }),
    );
  });
});

test('device activity adds up over publications, and nonsense in it counts nothing', () => {
  const told = [5, 7, -1, 0.5, Number.NaN, 1e12].map((deviceActiveMs) => createPublication({ deviceActiveMs }));
  expect(sumDeviceActiveMs([...told, createPublication()])).toBe(12);
});
