// Hour by hour the cells and books of a rebuild, and the days and months they add up to. Not here: where the hours come from (rebuild-ledger.ts).
import type { BookCell, Granularity } from '#domain/books.ts';
import type { RestoredCell, StoreRestorer } from '#domain/restore-store.ts';
import { BOOK_METRICS, type BookIncrement, type BookMetric, CELL_METRICS } from '#domain/settlement.ts';
import { isMonthEdge } from '#domain/window.ts';
import { addToCell, type CellSums } from './cell-sums.ts';

const DAY_SECONDS = 86_400;
/** Hour cells are kept this many days (books.ts). */
const HOUR_CELL_SECONDS = 36 * DAY_SECONDS;
const CELLS_AT_ONCE = 1000;

/** Sums of the capacity books by hour and pool; freezes add to them in their order. */
export class BookSums {
  readonly #hours = new Map<
    number,
    Map<string, { deployments: string; gpu: string; sums: Record<BookMetric, bigint> }>
  >();

  add({ hour, pool, deployments, gpu, metrics }: BookIncrement): void {
    const pools = this.#hours.get(hour) ?? new Map();
    this.#hours.set(hour, pools);
    const book = pools.get(pool) ?? { deployments, gpu, sums: emptyBook() };
    pools.set(pool, book);
    // The latest names of a pool win.
    book.deployments = deployments;
    book.gpu = gpu;
    for (const metric of BOOK_METRICS) book.sums[metric] += BigInt(metrics[metric] ?? '0');
  }

  /** The hour's books with what was claimed of them, nanodollars by pool. */
  read(hour: number, claimed: ReadonlyMap<string, bigint>): BookCell[] {
    const pools = this.#hours.get(hour) ?? new Map();
    return [...pools].map(([pool, { deployments, gpu, sums }]) => {
      const claimedNanoUsd = sums.claimedNanoUsd + (claimed.get(pool) ?? 0n);
      return { hour, pool, deployments, gpu, metrics: { ...sums, claimedNanoUsd } };
    });
  }
}

/** Takes hours in ascending order and writes them; days and months follow when they are whole. */
export class CellWriter {
  readonly #restorer: Pick<StoreRestorer, 'restoreCells'>;
  readonly #hoursFrom: number;
  readonly #open: Record<Exclude<Granularity, 'hour'>, { start: number; sums: CellSums }> = {
    day: { start: Number.NaN, sums: new Map() },
    month: { start: Number.NaN, sums: new Map() },
  };

  /** `now`: epoch second; older hours than the store keeps are summed only. */
  constructor(restorer: Pick<StoreRestorer, 'restoreCells'>, now: number) {
    this.#restorer = restorer;
    this.#hoursFrom = now - HOUR_CELL_SECONDS;
  }

  async add(hour: number, cells: CellSums): Promise<void> {
    if (hour >= this.#hoursFrom || isMonthEdge(hour)) await this.#write('hour', hour, cells);
    for (const granularity of ['day', 'month'] as const) {
      const start = startOf(granularity, hour);
      const open = this.#open[granularity];
      if (open.start !== start) await this.#close(granularity);
      this.#open[granularity].start = start;
      for (const [name, metrics] of cells) addToCell(this.#open[granularity].sums, name, metrics);
    }
  }

  /** Writes what is open. */
  async finish(): Promise<void> {
    await this.#close('day');
    await this.#close('month');
  }

  async #close(granularity: Exclude<Granularity, 'hour'>): Promise<void> {
    const { start, sums } = this.#open[granularity];
    if (sums.size > 0) await this.#write(granularity, start, sums);
    this.#open[granularity] = { start: Number.NaN, sums: new Map() };
  }

  async #write(granularity: Granularity, start: number, sums: CellSums): Promise<void> {
    const cells = [...sums].map(([name, metrics]): RestoredCell => {
      const [team = '', project = '', keyId = '', model = '', deployment = ''] = JSON.parse(name) as string[];
      const values = CELL_METRICS.map((metric) => metrics[metric] ?? 0n);
      return { granularity, start, team, project, keyId, model, deployment, values };
    });
    for (let i = 0; i < cells.length; i += CELLS_AT_ONCE) {
      await this.#restorer.restoreCells(cells.slice(i, i + CELLS_AT_ONCE));
    }
  }
}

function emptyBook(): Record<BookMetric, bigint> {
  return Object.fromEntries(BOOK_METRICS.map((metric) => [metric, 0n])) as Record<BookMetric, bigint>;
}

function startOf(granularity: Exclude<Granularity, 'hour'>, second: number): number {
  if (granularity === 'day') return Math.floor(second / DAY_SECONDS) * DAY_SECONDS;
  const date = new Date(second * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1) / 1000;
}
