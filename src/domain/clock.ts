// The two times the product knows: a monotonic one for durations and the store's one for windows and records.

/** Injected wherever time is read, so that tests and the simulator can run on virtual time. */
export interface Clock {
  /** Milliseconds of a monotonic clock with sub-millisecond parts; only differences mean anything. */
  monotonicMs(): number;
  /** Epoch milliseconds of the store's clock as this process knows it; never decreases, slewed rather than stepped. */
  epochMs(): number;
  /** Store time of a monotonic instant taken on this clock, by the offset in force now. */
  toEpochMs(monotonicMs: number): number;
}
