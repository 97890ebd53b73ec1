// Reads one engine's statistics under a lease: drains its iteration rows and turns them into known time. Found by trying, not by version.
// Not here: when (create-telemetry.ts), the leases.
import type { DeviceActivity } from '#accounting/device-activity.ts';
import type { Clock } from '#domain/clock.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { Log } from '#domain/log.ts';
import type { Dispatcher } from 'undici';
import { fetchStatistics } from './fetch-statistics.ts';
import type { EngineIterations } from './engine-profiles.ts';
import { IterationCoverage } from './iteration-coverage.ts';
import { IterationMembers } from './iteration-members.ts';
import { parseIterationRows } from './iteration-rows.ts';
import { RequestTimingsReader, TIMINGS_TIMEOUT_MS } from './request-timings-reader.ts';
import type { StatisticsTarget } from './statistics-targets.ts';

/** The engine itself waits up to 2 s for rows where there are none. */
const ROWS_TIMEOUT_MS = 4000;
/** Longest time of a read. */
export const ENGINE_TIMEOUT_MS = ROWS_TIMEOUT_MS + TIMINGS_TIMEOUT_MS;

export interface EngineReaderOptions {
  readonly target: StatisticsTarget;
  readonly traits: EngineTraits;
  readonly dispatcher: Dispatcher;
  readonly activity: DeviceActivity;
  readonly clock: Clock;
  readonly log: Log;
  /** Told what each read brought, for whoever learns from it. */
  readonly onIterations: (target: StatisticsTarget, iterations: EngineIterations) => Promise<void>;
}

/** State of one engine between two leases: made anew when the lease is. */
export class EngineReader {
  readonly #options: EngineReaderOptions;
  readonly #coverage = new IterationCoverage();
  readonly #members = new IterationMembers();
  readonly #timings: RequestTimingsReader;

  constructor(options: EngineReaderOptions) {
    this.#options = options;
    this.#timings = new RequestTimingsReader(options);
  }

  /** Drains the rows once, and the entries of requests that ended. Rejects where there are no rows that can be read: entries without them say nothing. */
  async readIterations(): Promise<void> {
    const { target, traits, dispatcher, activity, clock, onIterations } = this.#options;
    const path = new URL(target.upstream.url).pathname.replace(/\/+$/, '') + (traits.iterationsPath ?? '');
    const page = await fetchStatistics({ dispatcher, path, upstream: target.upstream, timeoutMs: ROWS_TIMEOUT_MS });
    const readMs = clock.monotonicMs();
    if (page.status !== 200) throw new Error(`status ${page.status}`);
    const rows = parseIterationRows(page.text);
    if (rows === null) throw new Error('the page holds no iteration rows: is enable_iter_perf_stats set?');
    for (const { fromMs, toMs, busyMs } of rows.length === 0 ? [] : this.#coverage.take(rows, readMs)) {
      if (!target.isWholePool) continue;
      activity.cover({
        pool: target.pool,
        source: 'engine',
        fromMs: clock.toEpochMs(fromMs),
        toMs: clock.toEpochMs(toMs),
        busyMs,
      });
    }
    const isBusy = rows.some(({ prefilling, decoding }) => prefilling + decoding > 0);
    const timings = await this.#timings.read(isBusy);
    const exact = this.#members.take(rows, timings, clock.monotonicMs());
    if (rows.length + exact.length > 0) await onIterations(target, { rows, exact });
  }
}
