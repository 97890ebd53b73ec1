// Runs the cells of the benchmark: loads × watchers × profile sources, and the naive methods on the same traces. Not here: printing them (render-scores.ts).
import { type BookCheck, checkBooks } from './check-books.ts';
import type { EngineShape } from './engine-shapes.ts';
import { createLoads, type Load, measureCapacity } from './loads.ts';
import { naiveMethods } from './naive-methods.ts';
import { planTraffic } from './plan-traffic.ts';
import { createProfile, profileSourceNames } from './profile-sources.ts';
import { PRICE_NANO_USD, type ProfileSourceName } from './run-facts.ts';
import { processOf, replayTrace, type ReplayResult } from './replay-trace.ts';
import { type EngineTrace, runEngine } from './run-engine.ts';
import { type ChargeScore, scoreCharges } from './score-charges.ts';

/** Who watches in a row of the table. */
export interface Watchers {
  readonly name: string;
  readonly processes: number;
  /** Part of the traffic's time after which one of the processes dies; null: none does. */
  readonly deathAt: number | null;
  readonly cachedKnown: boolean;
}

export const watcherKinds: readonly Watchers[] = [
  { name: '1 process', processes: 1, deathAt: null, cachedKnown: true },
  { name: '1, cache hidden', processes: 1, deathAt: null, cachedKnown: false },
  { name: '3 processes', processes: 3, deathAt: null, cachedKnown: true },
  { name: '3, one killed', processes: 3, deathAt: 0.5, cachedKnown: true },
];

/** One cell: a method on a load. `books` is null for naive methods, which keep none. */
export interface Cell {
  readonly engine: string;
  readonly load: string;
  readonly watchers: string;
  readonly method: string;
  /** True where the targets decide over the exit code. */
  readonly held: boolean;
  readonly charges: ChargeScore;
  readonly books: CellBooks | null;
}

/** What the books say, and how it compares with the engine. */
export interface CellBooks extends BookCheck {
  /** (booked − true idle) ÷ true idle while there was traffic; ÷ the whole time where less than 5 % of it was idle. Signed. */
  readonly idleError: number;
  readonly late: number;
  readonly overEstimates: number;
  readonly underEstimates: number;
  readonly unsettled: number;
  /** Seconds whose busy time was read from the engine. */
  readonly engineWindows: number;
}

export interface MatrixOptions {
  readonly shape: EngineShape;
  readonly sources?: readonly ProfileSourceName[];
  readonly watchers?: readonly Watchers[];
  /** Of all loads those with these names. */
  readonly loads?: readonly string[];
  /** Multiplies the loads' durations. */
  readonly durationScale?: number;
  readonly seed?: number;
  readonly onCell?: (cell: Cell) => void;
}

/** Below this part of the time, idle is too small to be compared with itself. */
const IDLE_PART_MIN = 0.05;
const DEFAULT_SEED = 21;
/** What was measured, declared or told is held to the targets; a start that nobody measured is shown beside it. */
const HELD_SOURCES: ReadonlySet<ProfileSourceName> = new Set([
  'declared',
  'calibrated',
  'engine statistics',
  'learned',
]);

/** All cells, in the order of the table. */
export async function runMatrix(options: MatrixOptions): Promise<readonly Cell[]> {
  const { shape, durationScale = 1, seed = DEFAULT_SEED, onCell = () => {} } = options;
  const cells: Cell[] = [];
  const add = (cell: Cell): void => {
    cells.push(cell);
    onCell(cell);
  };
  const loads = createLoads(measureCapacity(shape)).filter((load) => options.loads?.includes(load.name) ?? true);
  for (const load of loads) {
    const scaled = { ...load, durationMs: load.durationMs * durationScale };
    const traffic = planTraffic({ ...scaled, seed });
    const trace = runEngine(shape, traffic);
    for (const watchers of options.watchers ?? watcherKinds) {
      const deathAtMs = watchers.deathAt === null ? null : Math.round(watchers.deathAt * scaled.durationMs);
      const watched =
        deathAtMs === null
          ? trace
          : runEngine(shape, traffic, {
              atMs: deathAtMs,
              concerns: (plan) => processOf(plan, { processes: watchers.processes, deathAtMs }) === 1,
            });
      for (const source of options.sources ?? profileSourceNames) {
        const profile = await createProfile(source, shape);
        const result = await replayTrace(watched, {
          processes: watchers.processes,
          profile,
          learns: profile.learns ?? false,
          cachedKnown: watchers.cachedKnown,
          deathAtMs,
        });
        add(scoreCell(watched, result, { load, watchers, source }));
      }
    }
    for (const cell of scoreNaive(trace, load)) add(cell);
  }
  return cells;
}

function scoreCell(
  trace: EngineTrace,
  result: ReplayResult,
  of: { readonly load: Load; readonly watchers: Watchers; readonly source: ProfileSourceName },
): Cell {
  const charged = new Map(
    result.records.map((record) => [
      Number(record.requestId.slice(1)),
      record.charges.reduce((sum, charge) => sum + Number(charge.gpuMicros), 0) / 1000 / trace.shape.gpus,
    ]),
  );
  const books = checkBooks(trace, result, BigInt(PRICE_NANO_USD));
  return {
    engine: trace.shape.name,
    load: of.load.name,
    watchers: of.watchers.name,
    method: of.source,
    held: HELD_SOURCES.has(of.source),
    charges: scoreCharges(trace.requests, charged),
    books: {
      ...books,
      idleError: compareIdle(trace, books),
      ...result.counters,
      unsettled: result.unsettled,
      engineWindows: result.books.reduce((sum, book) => sum + Number(book.metrics.engineWindows), 0),
    },
  };
}

/** The minute of settling after the last request is idle in both and left out. */
function compareIdle(trace: EngineTrace, books: BookCheck): number {
  const bookedBusyMs = Number(books.chargedGpuMicros) / 1000 / trace.shape.gpus;
  const trueIdleMs = trace.endAtMs - trace.busyMs;
  const idleMs = trueIdleMs < IDLE_PART_MIN * trace.endAtMs ? trace.endAtMs : trueIdleMs;
  return (trace.busyMs - bookedBusyMs) / idleMs;
}

function scoreNaive(trace: EngineTrace, load: Load): readonly Cell[] {
  return naiveMethods.map(({ name, charge }) => ({
    engine: trace.shape.name,
    load: load.name,
    watchers: 'naive',
    method: name,
    held: false,
    charges: scoreCharges(trace.requests, charge(trace)),
    books: null,
  }));
}
