// Reads one engine's statistics under a lease: drains its iteration rows and turns them into known time. Found by trying, not by version.
// Not here: when (create-telemetry.ts), the leases.
import type { DeviceActivity } from '#accounting/device-activity.ts';
import type { Clock } from '#domain/clock.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { Dispatcher } from 'undici';
import { fetchStatistics } from './fetch-statistics.ts';
import { IterationCoverage } from './iteration-coverage.ts';
import { type IterationRow, parseIterationRows } from './iteration-rows.ts';
import type { StatisticsTarget } from './statistics-targets.ts';

/** The engine itself waits up to 2 s for rows where there are none. */
export const ENGINE_TIMEOUT_MS = 4000;

export interface EngineReaderOptions {
  readonly target: StatisticsTarget;
  readonly traits: EngineTraits;
  readonly dispatcher: Dispatcher;
  readonly activity: DeviceActivity;
  readonly clock: Clock;
  /** Told the rows of each answer, for whoever learns from them. */
  readonly onRows: (target: StatisticsTarget, rows: readonly IterationRow[]) => Promise<void>;
}

/** State of one engine between two leases: made anew when the lease is. */
export class EngineReader {
  readonly #options: EngineReaderOptions;
  readonly #coverage = new IterationCoverage();

  constructor(options: EngineReaderOptions) {
    this.#options = options;
  }

  /** Drains the rows once. Rejects where there is nothing that can be read. */
  async readIterations(): Promise<void> {
    const { target, traits, dispatcher, activity, clock, onRows } = this.#options;
    const path = new URL(target.upstream.url).pathname.replace(/\/+$/, '') + (traits.iterationsPath ?? '');
    const page = await fetchStatistics({ dispatcher, path, upstream: target.upstream, timeoutMs: ENGINE_TIMEOUT_MS });
    const readMs = clock.monotonicMs();
    if (page.status !== 200) throw new Error(`status ${page.status}`);
    const rows = parseIterationRows(page.text);
    if (rows === null) throw new Error('the page holds no iteration rows: is enable_iter_perf_stats set?');
    if (rows.length === 0) return;
    for (const { fromMs, toMs, busyMs } of this.#coverage.take(rows, readMs)) {
      if (!target.isWholePool) continue;
      activity.cover({
        pool: target.pool,
        source: 'engine',
        fromMs: clock.toEpochMs(fromMs),
        toMs: clock.toEpochMs(toMs),
        busyMs,
      });
    }
    await onRows(target, rows);
  }
}
