// The books of a run against themselves and the price: every nanodollar of capacity charged, idle, or missing. Not here: whose it is (score-charges.ts).
import { capacityNanoUsd } from '#attribution/window-capacity.ts';
import { hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';
import type { BookMetric, CellMetric } from '#domain/settlement.ts';
import type { EngineTrace } from './run-engine.ts';
import type { ReplayResult } from './replay-trace.ts';

/** All in nanodollars or GPU µs, exact. */
export interface BookCheck {
  /** Σ of the absolute differences below: 0, or the books are wrong. */
  readonly differenceNanoUsd: bigint;
  /** price × time − capacity; capacity − charged − idle; charged − Σ records; charged − Σ rollups. */
  readonly differences: Readonly<Record<'capacity' | 'idle' | 'records' | 'rollups', bigint>>;
  /** GPU µs charged to nobody's record. */
  readonly residualGpuMicros: bigint;
  readonly capacityGpuMicros: bigint;
  readonly chargedGpuMicros: bigint;
}

/** Recomputes the bill from the price and the frozen windows alone, and compares every sum with it. */
export function checkBooks(trace: EngineTrace, result: ReplayResult, nanoUsdPerGpuHour: bigint): BookCheck {
  const { first, last } = result.windows;
  const bill = computeBill(first, last, nanoUsdPerGpuHour * BigInt(trace.shape.gpus));
  const book = (metric: BookMetric): bigint => result.books.reduce((sum, cell) => sum + cell.metrics[metric], 0n);
  const cell = (metric: CellMetric): bigint => result.cells.reduce((sum, entry) => sum + entry.metrics[metric], 0n);
  const charges = result.records.flatMap((record) => record.charges);
  const charged = book('chargedNanoUsd');
  const differences = {
    capacity: bill - book('capacityNanoUsd'),
    idle: book('capacityNanoUsd') - charged - book('idleNanoUsd'),
    records: charged - charges.reduce((sum, charge) => sum + BigInt(charge.costNanoUsd), 0n),
    rollups: charged - cell('costNanoUsd'),
  };
  const chargedGpuMicros = book('chargedGpuMicros');
  return {
    differenceNanoUsd: Object.values(differences).reduce((sum, value) => sum + (value < 0n ? -value : value), 0n),
    differences,
    residualGpuMicros: chargedGpuMicros - charges.reduce((sum, charge) => sum + BigInt(charge.gpuMicros), 0n),
    capacityGpuMicros: book('capacityGpuMicros'),
    chargedGpuMicros,
  };
}

function computeBill(first: number, last: number, hourNanoUsd: bigint): bigint {
  let bill = 0n;
  for (let from = first; from <= last;) {
    const to = Math.min(last, hourOf(from) + SECONDS_PER_HOUR - 1);
    bill += capacityNanoUsd(hourNanoUsd, from, to);
    from = to + 1;
  }
  return bill;
}
