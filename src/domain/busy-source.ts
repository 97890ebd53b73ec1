// Where the busy time of a window comes from, and what else than requests in flight may know of it. Not here: the arithmetic (attribution).

/** Best first: the engine's own iteration rows, DCGM, milliseconds with a request in flight. */
export type BusySource = 'engine' | 'dcgm' | 'in_flight';

/** What the engine's rows, or DCGM, say of a window: between `fromMs` and `toMs` of it the pool's GPUs worked for `busyMs`. Whole milliseconds. */
export interface WindowActivity {
  readonly source: Exclude<BusySource, 'in_flight'>;
  /** 0 … 1000; what lies outside is not covered, so that only requests in flight tell of it. */
  readonly fromMs: number;
  readonly toMs: number;
  /** 0 … toMs − fromMs. */
  readonly busyMs: number;
}
