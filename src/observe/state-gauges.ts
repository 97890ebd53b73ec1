// Gauges read at each scrape: upstreams, prices, profiles, the health of the accounting, the month so far.
import type { Config } from '#config/config.ts';
import { priceInForce } from '#config/price-book.ts';
import type { Clock } from '#domain/clock.ts';
import type { EngineProfile, ProfileSource } from '#domain/engine-profile.ts';
import type { Registry } from 'prom-client';
import type { MetricLabels } from './metric-labels.ts';
import type { MonthToDate } from './month-to-date.ts';
import { registerProfileGauges } from './profile-gauges.ts';
import { registerGauge, registerTotal } from './register-gauge.ts';

/** What the gauges ask at a scrape. Each must answer at once, from memory. */
export interface MetricsSources {
  upstreamStatus(): readonly {
    readonly deployment: string;
    readonly upstream: string;
    readonly healthy: boolean;
    readonly inFlight: number;
  }[];
  /** Requests that wait for an upstream that is not full. */
  queueLengths(): readonly { readonly deployment: string; readonly waiting: number }[];
  accountingStatus(): {
    readonly storeUp: boolean;
    /** Why nothing is posted to the store although it may answer, or null. */
    readonly stoppedBecause: string | null;
    /** Messages and records in the journal that the store has not acknowledged. */
    readonly journalPending: number;
    /** Attempts, running or finished, whose cost is not settled. */
    readonly unsettledRecords: number;
    /** Journals of dead processes that this one settles now. */
    readonly adoptedJournals: number;
    /** Seconds of work that came after they were frozen, since the start. */
    readonly lateCount: number;
    /** Journal lines that memory alone holds, since the disk does not take them. */
    readonly journalLinesAtRisk: number;
    /** Seconds between now and the last frozen window; null before the first. */
    readonly settlementLagSeconds: number | null;
    /** Busy GPU seconds still waiting for work, by deployment. */
    readonly residualGpuSeconds: () => ReadonlyMap<string, number>;
  };
  profiles(): readonly {
    readonly deployment: string;
    readonly source: ProfileSource;
    readonly profile: EngineProfile;
    /** Relative residual of the fit, and what it rests on; null or absent where nothing was fitted. */
    readonly fitError?: number | null;
    readonly samples?: number | null;
    /** Real ÷ modelled time of the engine − 1; null or absent where too little was seen. */
    readonly drift?: number | null;
    /** Measured part of the declared prefill terms that counts, in `profile` already; null or absent where nothing was measured. */
    readonly prefillFactor?: number | null;
  }[];
  /** Those that windows are priced with: not the file's where its change was refused. */
  prices(): Config['prices'];
  /** False after a reload that was refused. */
  configReloadSuccessful(): boolean;
}

export interface StateGaugesOptions {
  readonly registry: Registry;
  readonly sources: MetricsSources;
  readonly monthToDate: MonthToDate;
  readonly clock: Clock;
  readonly version: string;
  /** The config in force. */
  readonly config: () => Config;
  readonly labels: () => MetricLabels;
}

/** Registers all gauges; they answer for themselves from then on. */
export function registerStateGauges(options: StateGaugesOptions): void {
  registerUpstreamGauges(options);
  registerDeploymentGauges(options);
  registerAccountingGauges(options);
  registerWaitingGauges(options);
  registerMonthGauges(options);
}

function registerUpstreamGauges({ registry, sources, labels }: StateGaugesOptions): void {
  const labelNames = ['deployment', 'upstream'] as const;
  registerGauge(registry, {
    name: 'requests_in_flight',
    workers: 'sum',
    help: 'Requests this gateway has at an upstream now. Left out: requests of other gateways.',
    labelNames,
    collect: (set) => {
      for (const { deployment, upstream, inFlight } of sources.upstreamStatus()) {
        set({ deployment: labels().deployment(deployment), upstream }, inFlight);
      }
    },
  });
  registerGauge(registry, {
    name: 'upstream_up',
    workers: 'min',
    help: '1 if an upstream gets requests from this gateway, 0 if its health checks or several requests in a row fail. Left out: what other gateways see.',
    labelNames,
    collect: (set) => {
      for (const { deployment, upstream, healthy } of sources.upstreamStatus()) {
        set({ deployment: labels().deployment(deployment), upstream }, healthy ? 1 : 0);
      }
    },
  });
}

function registerDeploymentGauges({ registry, sources, config, clock, version }: StateGaugesOptions): void {
  registerGauge(registry, {
    name: 'deployment_info',
    workers: 'first',
    help: 'Always 1: names the model, engine and GPU of a deployment. Left out: further names of the model.',
    labelNames: ['deployment', 'model', 'engine', 'gpu'] as const,
    collect: (set) => {
      for (const { name, models, engine, gpu } of config().deployments) {
        set({ deployment: name, model: models[0] ?? name, engine, gpu }, 1);
      }
    },
  });
  registerGauge(registry, {
    name: 'price_usd_per_gpu_hour',
    workers: 'first',
    help: 'Price in force for one GPU and hour, by which its windows are priced. Left out: prices of the past (see reports).',
    labelNames: ['deployment'] as const,
    collect: (set) => {
      const prices = sources.prices();
      for (const { name, priceName } of config().deployments) {
        const price = priceInForce(prices, priceName, clock.epochMs());
        if (price !== undefined) set({ deployment: name }, Number(price.nanoUsdPerGpuHour) / 1e9);
      }
    },
  });
  registerGauge(registry, {
    name: 'provisioned_gpus',
    workers: 'first',
    help: 'GPUs of a deployment by the config; a pool that several deployments share counts at each. Left out: that they cost nothing outside a schedule, or while they are down under provisioned: health.',
    labelNames: ['deployment'] as const,
    collect: (set) => {
      for (const deployment of config().deployments) set({ deployment: deployment.name }, countGpus(deployment));
    },
  });
  registerProfileGauges(registry, sources);
  registerGauge(registry, {
    name: 'build_info',
    workers: 'first',
    help: 'Always 1: names the version that runs. Left out: versions of engines and stores.',
    labelNames: ['version', 'node'] as const,
    collect: (set) => set({ version, node: process.version }, 1),
  });
}

/** GPUs over the distinct pools of a deployment. */
function countGpus({ gpuMillionths, upstreams }: Config['deployments'][number]): number {
  const replicas = new Map<string, number>();
  for (const { pool, replicas: count } of upstreams) replicas.set(pool, Math.max(replicas.get(pool) ?? 0, count));
  return ([...replicas.values()].reduce((sum, count) => sum + count, 0) * gpuMillionths) / 1e6;
}

function registerAccountingGauges({ registry, sources, labels }: StateGaugesOptions): void {
  registerGauge(registry, {
    name: 'store_up',
    workers: 'min',
    help: '1 if the store answered this gateway last time and settlement posts to it, 0 if not. Left out: why (see the log, or /readyz).',
    labelNames: [],
    collect: (set) => {
      const { storeUp, stoppedBecause } = sources.accountingStatus();
      set({}, storeUp && stoppedBecause === null ? 1 : 0);
    },
  });
  registerGauge(registry, {
    name: 'journal_pending',
    workers: 'sum',
    help: 'Entries of the journal that the store has not acknowledged. Left out: requests still in flight.',
    labelNames: [],
    collect: (set) => set({}, sources.accountingStatus().journalPending),
  });
  registerGauge(registry, {
    name: 'journal_lines_at_risk',
    workers: 'sum',
    help: 'Lines that the disk of the journal does not take: they are lost if this process dies now. Left out: requests still in flight.',
    labelNames: [],
    collect: (set) => set({}, sources.accountingStatus().journalLinesAtRisk),
  });
  registerGauge(registry, {
    name: 'settlement_lag_seconds',
    workers: 'max',
    help: 'Seconds since the last settled window, as this gateway knows it. Left out: nothing; absent before the first.',
    labelNames: [],
    collect: (set) => set({}, sources.accountingStatus().settlementLagSeconds ?? Number.NaN),
  });
  registerGauge(registry, {
    name: 'attribution_residual_gpu_seconds',
    // The GPUs are the same for each.
    workers: 'max',
    help: 'Busy GPU seconds still waiting for work to divide them by. Left out: those of other gateways.',
    labelNames: ['deployment'] as const,
    collect: (set) => {
      const residualGpuSeconds = sources.accountingStatus().residualGpuSeconds();
      for (const { name } of labels().deployments) set({ deployment: name }, residualGpuSeconds.get(name) ?? 0);
    },
  });
  registerGauge(registry, {
    name: 'config_last_reload_successful',
    workers: 'min',
    help: '1 if the config file in force is the last one that was read, 0 if the last one was refused. Left out: why (see the log).',
    labelNames: [],
    collect: (set) => set({}, sources.configReloadSuccessful() ? 1 : 0),
  });
}

function registerWaitingGauges({ registry, sources }: StateGaugesOptions): void {
  registerGauge(registry, {
    name: 'unsettled_records',
    workers: 'sum',
    help: 'Requests, in flight or finished, whose cost no team holds yet, adopted ones among them. Left out: those of other gateways; money that waits stands in reports (pendingNanoUsd).',
    labelNames: [],
    collect: (set) => set({}, sources.accountingStatus().unsettledRecords),
  });
  registerGauge(registry, {
    name: 'adopted_journals',
    workers: 'sum',
    help: 'Journals of dead processes of this host that this gateway settles now. Left out: those it has settled.',
    labelNames: [],
    collect: (set) => set({}, sources.accountingStatus().adoptedJournals),
  });
  registerTotal(registry, {
    name: 'late_windows_total',
    help: 'Seconds of work of a pool that came after the books were closed over them (a process away for longer than settlement.silence): tokens are kept, their cost is 0. Left out: those of other gateways.',
    read: () => sources.accountingStatus().lateCount,
  });
}

function registerMonthGauges({ registry, monthToDate, labels }: StateGaugesOptions): void {
  registerGauge(registry, {
    name: 'month_to_date_cost_usd',
    workers: 'max',
    help: 'Settled dollars of a team since the first of the UTC month, from the store: the same on every gateway. Left out: idle, corrections (ledger adjust), and what is not settled yet.',
    labelNames: ['team'] as const,
    collect: async (set) => {
      const figures = await monthToDate.read();
      if (figures === null) return;
      for (const team of new Set([...labels().teams, ...figures.costByTeam.keys()]))
        set({ team: team === '' ? 'none' : team }, Number(figures.costByTeam.get(team) ?? 0n) / 1e9);
    },
  });
  const pool = (name: string, help: string, metric: 'capacityNanoUsd' | 'idleNanoUsd') => {
    registerGauge(registry, {
      name,
      help,
      workers: 'max',
      labelNames: ['deployment'] as const,
      collect: async (set) => {
        const figures = await monthToDate.read();
        if (figures === null) return;
        const known = [...labels().pools.map(({ deployment }) => deployment), ...figures.poolsByDeployment.keys()];
        for (const deployment of new Set(known)) {
          set({ deployment }, Number(figures.poolsByDeployment.get(deployment)?.[metric] ?? 0n) / 1e9);
        }
      },
    });
  };
  pool(
    'month_to_date_capacity_cost_usd',
    'Dollars of provisioned GPU time since the first of the UTC month, from the store. Left out: what is not settled yet.',
    'capacityNanoUsd',
  );
  pool(
    'month_to_date_idle_cost_usd',
    'Dollars of idle GPU time since the first of the UTC month, from the store. Left out: what is not settled yet.',
    'idleNanoUsd',
  );
}
