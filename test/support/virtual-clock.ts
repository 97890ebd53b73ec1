// A machine's clocks on virtual time, for everything that takes a ClockSource. Not here: the slewed WindowClock itself (src/accounting/window-clock.ts).
import type { ClockSource } from '#accounting/window-clock.ts';

/** Time moves only by `advance`; `stepEpoch` imitates a wall clock that is set. */
export interface VirtualClock extends ClockSource {
  advance(ms: number): void;
  stepEpoch(ms: number): void;
}

/** Starts at monotonic 1000 ms and the given epoch. */
export function createVirtualClock(epochStartMs = 1_790_000_000_000): VirtualClock {
  let monotonicMs = 1000;
  let epochMs = epochStartMs;
  return {
    monotonicMs: () => monotonicMs,
    epochMs: () => epochMs,
    advance(ms) {
      monotonicMs += ms;
      epochMs += ms;
    },
    stepEpoch(ms) {
      epochMs += ms;
    },
  };
}
