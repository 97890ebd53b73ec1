// What a deployment costs and how busy it is, over the last hours of the books: for /api/deployments.
import type { DeploymentConfig } from '#config/config.ts';
import type { BookCell, BooksReader, RollupCell } from '#domain/books.ts';
import { shareIdle } from './idle-policy.ts';
import { addSums, createSums } from './metric-sums.ts';
import { readCells } from './read-report.ts';
import { ceilHour } from './report-period.ts';
import { priceRow } from './report-rows.ts';
import type { UnitPrices } from './report-shape.ts';

/** Whose figures are asked for. */
export type FiguredDeployment = Pick<DeploymentConfig, 'name' | 'prefillBy'>;

/**
 * Figures of one deployment over a span; of shared GPUs, utilisation and concurrency are the pool's. What its tokens cost holds the GPUs that
 * compute its prompts.
 */
export interface DeploymentFigures {
  readonly unitPrices: UnitPrices;
  /** Charged ÷ provisioned GPU seconds, 0 … 1; null where nothing was provisioned. */
  readonly utilisation: number | null;
  /** Milliseconds in flight ÷ busy milliseconds: requests in flight while there was one; null where there was none. */
  readonly meanConcurrency: number | null;
}

export interface FiguresByDeployment {
  /** Since the beginning of the hour before this one. */
  readonly lastHour: ReadonlyMap<string, DeploymentFigures>;
  /** The last 24 hours, this one included. */
  readonly lastDay: ReadonlyMap<string, DeploymentFigures>;
}

const HOUR = 3600;

/** Rejects with StoreUnavailableError. `nowMs` in epoch milliseconds. */
export async function readDeploymentFigures(
  books: BooksReader,
  deployments: readonly FiguredDeployment[],
  nowMs: number,
): Promise<FiguresByDeployment> {
  const to = ceilHour(Math.floor(nowMs / 1000) + 1);
  const period = { from: to - 24 * HOUR, to };
  const [cells, booked] = await Promise.all([
    readCells(books, { period, coarsest: 'hour', nowMs }),
    books.readBooks(period),
  ]);
  const recent = to - 2 * HOUR;
  const recentCells = cells.filter(({ start }) => start >= recent);
  const recentBooks = booked.filter(({ hour }) => hour >= recent);
  return {
    lastHour: computeFigures(deployments, recentCells, recentBooks),
    lastDay: computeFigures(deployments, cells, booked),
  };
}

/** Figures of every named deployment; unknown ones are null, never 0. */
export function computeFigures(
  deployments: readonly FiguredDeployment[],
  cells: readonly RollupCell[],
  books: readonly BookCell[],
): ReadonlyMap<string, DeploymentFigures> {
  const idle = shareIdle({ policy: 'proportional', cells, books, teams: [], deployments: [] });
  return new Map(
    deployments.map(({ name, prefillBy }) => {
      const isMeant = (deployment: string) => deployment === name || deployment === prefillBy?.deployment;
      const sums = createSums();
      for (const cell of cells) if (isMeant(cell.deployment)) addSums(sums, cell.metrics);
      const idleNanoUsd = idle.reduce(
        (sum, { target, nanoUsd }) => (isMeant(target.deployment) ? sum + nanoUsd : sum),
        0n,
      );
      const own = books.filter(({ deployments }) => deployments.split('+').includes(name));
      const sum = (metric: keyof BookCell['metrics']) => own.reduce((total, book) => total + book.metrics[metric], 0n);
      return [
        name,
        {
          unitPrices: priceRow(sums, sums.costNanoUsd + idleNanoUsd),
          utilisation: divide(sum('chargedGpuMicros'), sum('capacityGpuMicros')),
          meanConcurrency: divide(sum('flightMs'), sum('busyMs')),
        },
      ];
    }),
  );
}

/** A ratio with six decimals; null without a denominator. */
function divide(numerator: bigint, denominator: bigint): number | null {
  return denominator > 0n ? Number((numerator * 1_000_000n) / denominator) / 1e6 : null;
}
