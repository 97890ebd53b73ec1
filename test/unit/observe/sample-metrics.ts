// Metrics of the sample config with sources that say fixed figures, and reading one series of a scrape.
import { silentLog } from '#domain/log.ts';
import { createMetrics } from '#observe/metrics.ts';
import type { MetricsOptions } from '#observe/metrics.ts';
import { createFixedBooks } from '#test/unit/reports/sample-books.ts';
import { createSampleConfig } from './sample-config.ts';

export const NOW_MS = Date.UTC(2026, 10, 22, 10);

/** What the gauges of the sample ask. */
export function createSources(): MetricsOptions['sources'] {
  return {
    upstreamStatus: () => [{ deployment: 'llama-70b', upstream: 'trt-1', healthy: true, inFlight: 3 }],
    queueLengths: () => [{ deployment: 'llama-70b', waiting: 4 }],
    accountingStatus: () => ({
      storeUp: true,
      stoppedBecause: null,
      journalPending: 2,
      journalLinesAtRisk: 0,
      unsettledRecords: 5,
      adoptedJournals: 1,
      lateCount: 3,
      settlementLagSeconds: 2.5,
      residualGpuSeconds: () => new Map([['llama-70b', 0.5]]),
    }),
    profiles: () => [
      {
        deployment: 'llama-70b',
        source: 'declared',
        fitError: 0.03,
        samples: 900,
        drift: -0.02,
        prefillFactor: 0.83,
        profile: {
          iterationMs: 12,
          prefillTokenMs: 0.03,
          prefillContextMs: 0,
          decodeStepMs: 0.04,
          contextTokenMs: 0.000017,
        },
      },
    ],
    prices: () => createSampleConfig().prices,
    configReloadSuccessful: () => true,
  };
}

/** Metrics of the sample config, with what a test says otherwise. */
export function create(overrides: Partial<MetricsOptions> = {}) {
  return createMetrics({
    config: createSampleConfig(),
    books: createFixedBooks(),
    clock: { monotonicMs: () => 0, epochMs: () => NOW_MS, toEpochMs: (ms) => ms },
    log: silentLog,
    version: '0.1.0',
    sources: createSources(),
    ...overrides,
  });
}

/** Value of one series in the exposition text; undefined where it is absent. */
export function read(text: string, series: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}
