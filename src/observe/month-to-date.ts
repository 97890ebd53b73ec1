// Spend of the current UTC month from the store, cached for the scrape: one read at a time, none on anybody's path.
import type { BookCell, BooksReader } from '#domain/books.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import { hourOf, SECONDS_PER_HOUR, windowOf } from '#domain/window.ts';

/** Sums since the first second of the UTC month, in nanodollars. */
export interface MonthFigures {
  /** First second of the month. */
  readonly from: number;
  readonly costByTeam: ReadonlyMap<string, bigint>;
  readonly poolsByDeployment: ReadonlyMap<string, PoolSum>;
}

interface PoolSum {
  readonly capacityNanoUsd: bigint;
  readonly idleNanoUsd: bigint;
}

/** Books of the hours from the month's first to `through` (exclusive, epoch second), read as a whole once an hour. */
interface SettledHours {
  readonly from: number;
  readonly through: number;
  readonly pools: ReadonlyMap<string, PoolSum>;
}

const MAX_AGE_MS = 10_000;

/** Longest a scrape waits for a fresh read before it takes the last one. */
const WAIT_MS = 1000;

/** Figures at most 10 s old while the store answers; the last known ones of this month, or null before the first, while it does not. */
export class MonthToDate {
  readonly #books: BooksReader;
  readonly #clock: Clock;
  readonly #log: Log;
  #figures: MonthFigures | null = null;
  #settled: SettledHours | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | null = null;

  constructor({ books, clock, log }: { books: BooksReader; clock: Clock; log: Log }) {
    this.#books = books;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves after at most 1 s and never rejects. */
  async read(): Promise<MonthFigures | null> {
    if (this.#clock.monotonicMs() - this.#readAtMs >= MAX_AGE_MS) {
      this.#reading ??= this.#refresh().finally(() => {
        this.#reading = null;
      });
    }
    if (this.#reading !== null) await waitAtMost(this.#reading, WAIT_MS);
    // A month's spend shown as the next one's would hide, in a maximum over gateways, what the others know.
    return this.#figures?.from === monthOf(this.#clock.epochMs()) ? this.#figures : null;
  }

  async #refresh(): Promise<void> {
    // Taken before the read: a failed one is tried again after 10 s, not at every scrape of a store that hangs.
    this.#readAtMs = this.#clock.monotonicMs();
    try {
      this.#figures = await this.#readMonth(this.#clock.epochMs());
    } catch (error) {
      this.#log.warn(
        { reason: error instanceof Error ? error.message : String(error) },
        'month-to-date metrics not refreshed',
      );
    }
  }

  async #readMonth(nowMs: number): Promise<MonthFigures> {
    const from = monthOf(nowMs);
    const nextMonth = monthOf(nowMs, 1);
    const { frontier } = await this.#books.readStatus();
    const through = Math.max(from, hourOf(frontier ?? from));
    // Hours behind the frontier's do not change by themselves; a month of them every 10 s would hold up requests.
    if (this.#settled?.from !== from || this.#settled.through !== through) {
      const books = through === from ? [] : await this.#books.readBooks({ from, to: through });
      this.#settled = { from, through, pools: sumPools(books, new Map()) };
    }
    const [cells, recent] = await Promise.all([
      this.#books.readRollups({ from, to: nextMonth }, 'month'),
      this.#books.readBooks({ from: through, to: Math.max(through, hourOf(windowOf(nowMs))) + SECONDS_PER_HOUR }),
    ]);
    const costByTeam = new Map<string, bigint>();
    for (const { team, metrics } of cells) {
      costByTeam.set(team, (costByTeam.get(team) ?? 0n) + metrics.costNanoUsd);
    }
    return { from, costByTeam, poolsByDeployment: sumPools(recent, this.#settled.pools) };
  }
}

/** First second of the UTC month of an instant, or of one `later`. */
function monthOf(epochMs: number, later = 0): number {
  const date = new Date(epochMs);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + later) / 1000;
}

/** `base` with the books added to it; `base` itself stays. */
function sumPools(books: readonly BookCell[], base: ReadonlyMap<string, PoolSum>): ReadonlyMap<string, PoolSum> {
  const pools = new Map(base);
  for (const { deployments, metrics } of books) {
    const sum = pools.get(deployments) ?? { capacityNanoUsd: 0n, idleNanoUsd: 0n };
    pools.set(deployments, {
      capacityNanoUsd: sum.capacityNanoUsd + metrics.capacityNanoUsd,
      idleNanoUsd: sum.idleNanoUsd + metrics.idleNanoUsd,
    });
  }
  return pools;
}

async function waitAtMost(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, limit]);
  clearTimeout(timer);
}
