// Builds what reads statistics beside the requests, with its adapters: part of compose.ts's work, apart for its length.
import type { DeviceActivity } from '#accounting/device-activity.ts';
import type { Config } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { createDispatcher } from '#gateway/upstream-dispatcher.ts';
import type { Metrics } from '#observe/metrics.ts';
import type { OpenedStore } from '#store/open-store.ts';
import { Telemetry } from '#telemetry/create-telemetry.ts';
import { EngineProfiles } from '#telemetry/engine-profiles.ts';

export interface TelemetryParts {
  readonly config: () => Config;
  readonly store: OpenedStore;
  readonly activity: DeviceActivity;
  readonly metrics: () => Pick<Metrics, 'energyUsed' | 'statisticsFailed'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Not started yet. */
export function composeTelemetry({ config, store, activity, metrics, clock, log }: TelemetryParts): Telemetry {
  const { settlement, books, leases } = store;
  const profiles = new EngineProfiles({ settlement, books, clock, log });
  return new Telemetry({
    config,
    engines: ENGINE_TRAITS,
    leases,
    activity,
    clock,
    log,
    connect: createDispatcher,
    onEnergy: (pool, joules) => metrics().energyUsed(pool, joules),
    onFailure: (target) => metrics().statisticsFailed(target),
    onIterations: (target, iterations) => profiles.take(target, iterations),
  });
}
