// Gauges of the engine profiles in force: their terms, and how well they are known. Read at each scrape.
// Not here: where profiles come from (accounting/profile-of.ts).
import type { Registry } from 'prom-client';
import { registerGauge } from './register-gauge.ts';
import type { MetricsSources } from './state-gauges.ts';

/** Registers them; they answer for themselves from then on. */
export function registerProfileGauges(registry: Registry, sources: Pick<MetricsSources, 'profiles'>): void {
  registerGauge(registry, {
    name: 'engine_profile_milliseconds',
    workers: 'first',
    help: 'Terms of the work model in force and where they come from. Left out: their statistical error (see engine_profile_fit_error_ratio).',
    labelNames: ['deployment', 'term', 'source'] as const,
    collect: (set) => {
      for (const { deployment, source, profile } of sources.profiles()) {
        for (const [term, value] of Object.entries(profile)) set({ deployment, term, source }, Number(value));
      }
    },
  });
  const register = (name: string, help: string, read: 'fitError' | 'samples' | 'drift' | 'prefillFactor'): void =>
    registerGauge(registry, {
      name,
      help,
      workers: 'first',
      labelNames: ['deployment', 'source'] as const,
      collect: (set) => {
        for (const { deployment, source, ...profile } of sources.profiles()) {
          set({ deployment, source }, profile[read] ?? Number.NaN);
        }
      },
    });
  register(
    'engine_profile_fit_error_ratio',
    'Root mean square of what the profile in force misses of the time it was fitted to, 0 to 1. Left out: profiles that were not fitted.',
    'fitError',
  );
  register(
    'engine_profile_samples',
    'Busy windows (or requests) that the profile in force was fitted to, after forgetting. Left out: profiles that were not fitted.',
    'samples',
  );
  register(
    'engine_profile_drift_ratio',
    'Real divided by modelled time between tokens, less one, over the last minutes of busy windows: beyond 0.15 either way the engine no longer runs as its profile says. Left out: the first minute.',
    'drift',
  );
  register(
    'engine_profile_prefill_factor_ratio',
    'Part of the declared prefill terms that lengthens iterations, as measured from busy windows; the terms in force have it in them. Left out: profiles of which no part was measured.',
    'prefillFactor',
  );
}
