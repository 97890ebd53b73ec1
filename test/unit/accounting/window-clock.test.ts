// The store's time in this process: near the store's, never backwards, never in jumps once it runs.
import { describe, expect, it } from 'vitest';
import { createWindowClock } from '#accounting/window-clock.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

function setUp() {
  const machine = createVirtualClock();
  const clock = createWindowClock(machine);
  /** A reply of a store that is `aheadMs` ahead of the machine, after a round trip of 2 ms. */
  const hear = (aheadMs: number) => {
    const sentAtMs = machine.monotonicMs();
    machine.advance(2);
    clock.adjust(machine.epochMs() - 1 + aheadMs, sentAtMs, machine.monotonicMs());
  };
  return { machine, clock, hear };
}

describe('window clock', () => {
  it('jumps to the store at its first word', () => {
    const { machine, clock, hear } = setUp();
    hear(5000);
    expect(clock.epochMs()).toBeCloseTo(machine.epochMs() + 5000, 6);
  });

  it('jumps back to an earlier store while no work has its place in time', () => {
    const { machine, clock, hear } = setUp();
    clock.epochMs();
    hear(-400);
    expect(clock.epochMs()).toBeCloseTo(machine.epochMs() - 400, 6);
  });

  it('never goes back behind a time at which work was placed, and nears an earlier store by 1 ms per 20 ms', () => {
    const { machine, clock, hear } = setUp();
    const before = clock.epochMs();
    clock.toEpochMs(machine.monotonicMs());
    hear(-1000);
    expect(clock.epochMs()).toBeGreaterThanOrEqual(before);
    const start = clock.epochMs() - machine.epochMs();
    machine.advance(2000);
    expect(clock.epochMs() - machine.epochMs()).toBeCloseTo(start - 100, 3);
    machine.advance(60_000);
    expect(clock.epochMs() - machine.epochMs()).toBeCloseTo(-1000, 3);
  });

  it('does not follow a step of the wall clock, and slews towards a store that stepped', () => {
    const { machine, clock, hear } = setUp();
    hear(0);
    const before = clock.epochMs();
    machine.stepEpoch(3_600_000);
    machine.advance(1000);
    expect(clock.epochMs() - before).toBeCloseTo(1000, 3);
    hear(0);
    machine.advance(1000);
    expect(clock.epochMs() - before).toBeLessThan(2002 + 51);
  });

  it('differences within half the round trip are noise', () => {
    const { machine, clock, hear } = setUp();
    hear(0);
    const offset = clock.epochMs() - machine.epochMs();
    hear(0.9);
    machine.advance(10_000);
    expect(clock.epochMs() - machine.epochMs()).toBeCloseTo(offset, 6);
  });

  it('store time of a monotonic instant is as far back as the instant', () => {
    const { machine, clock, hear } = setUp();
    hear(700);
    const instantMs = machine.monotonicMs();
    const epochMs = clock.epochMs();
    machine.advance(300);
    expect(clock.toEpochMs(instantMs)).toBeCloseTo(epochMs, 6);
  });
});
