// The figures of the capacity books: per pool and UTC hour. Not here: how a freeze computes them (attribution, accounting).

/**
 * capacity = charged + idle + unmetered. `unavailable` and `unobserved` are sub-lines of idle; `claimed` is the part of charged held by teams.
 * `inFlightMs`: milliseconds with an attempt in flight; `deviceActiveMs`: GPU activity by DCGM, mean over the pool's GPUs, booked when it was
 * learned; `…Windows`: windows with busy time, by where it was read. Order is the storage order: append only.
 */
export const BOOK_METRICS = [
  'capacityNanoUsd',
  'chargedNanoUsd',
  'idleNanoUsd',
  'unavailableNanoUsd',
  'unobservedNanoUsd',
  'unmeteredNanoUsd',
  'claimedNanoUsd',
  'capacityGpuMicros',
  'chargedGpuMicros',
  'busyMs',
  'flightMs',
  'provisionedSeconds',
  'inFlightMs',
  'deviceActiveMs',
  'inFlightWindows',
  'engineWindows',
  'dcgmWindows',
] as const;

export type BookMetric = (typeof BOOK_METRICS)[number];
