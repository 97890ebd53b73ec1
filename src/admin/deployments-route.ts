// GET /api/deployments: what serves which model, how it is, what it costs (contract §6).
import type { Config, DeploymentConfig } from '#config/config.ts';
import { priceInForce, pricesInForce } from '#config/price-book.ts';
import type { BooksReader } from '#domain/books.ts';
import type { Clock } from '#domain/clock.ts';
import { formatUsdShortest } from '#domain/nano-usd.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import { factsInForce } from '#domain/pool-facts.ts';
import type { MetricsSources } from '#observe/metrics.ts';
import { readDeploymentFigures } from '#reports/deployment-figures.ts';
import type { DeploymentFigures } from '#reports/deployment-figures.ts';
import { isPooled } from '#reports/report-pools.ts';
import { toUnitPricesJson } from '#reports/render-json.ts';
import type { RequestHandler } from 'express';
import { readQuery } from './read-query.ts';

export interface DeploymentsRouteOptions {
  readonly books: BooksReader;
  readonly clock: Clock;
  readonly sources: Pick<MetricsSources, 'upstreamStatus' | 'profiles'>;
  /** The config in force. */
  readonly config: () => Config;
}

/** Prices and utilisation are of the last 24 hours; `lastHour` has those since the beginning of the hour before this one. */
export function createDeploymentsRoute({ books, clock, sources, config }: DeploymentsRouteOptions): RequestHandler {
  return async (req, res) => {
    readQuery(req, []);
    const { deployments, prices: written } = config();
    const nowMs = clock.epochMs();
    const [figures, facts] = await Promise.all([readDeploymentFigures(books, deployments, nowMs), books.readFacts()]);
    const prices = pricesInForce(written, facts);
    const upstreams = sources.upstreamStatus();
    const profiles = sources.profiles();
    res.json({
      deployments: deployments.map((deployment) => ({
        name: deployment.name,
        model: deployment.models[0] ?? deployment.name,
        models: deployment.models,
        engine: deployment.engine,
        gpu: deployment.gpu,
        ...(isPooled(deployment) ? { pooled: true } : {}),
        ...(deployment.prefillBy === undefined ? {} : { prefillBy: deployment.prefillBy.deployment }),
        upstreams: upstreams
          .filter((status) => status.deployment === deployment.name)
          .map(({ upstream, healthy, inFlight }) => ({ name: upstream, healthy, inFlight })),
        usdPerHour: formatUsdPerHour(deployment, prices, nowMs),
        ...toFiguresJson(figures.lastDay.get(deployment.name)),
        lastHour: toFiguresJson(figures.lastHour.get(deployment.name)),
        profile: toProfileJson(deployment, { profiles, facts, nowMs }),
      })),
    });
  };
}

/** All GPUs of the deployment at the price in force; null before its first price. */
function formatUsdPerHour(deployment: DeploymentConfig, prices: Config['prices'], nowMs: number): string | null {
  const price = priceInForce(prices, deployment.priceName, nowMs);
  if (price === undefined) return null;
  const replicas = new Map<string, number>();
  for (const { pool, replicas: count } of deployment.upstreams) {
    replicas.set(pool, Math.max(replicas.get(pool) ?? 0, count));
  }
  const gpuMillionths = [...replicas.values()].reduce((sum, count) => sum + count, 0) * deployment.gpuMillionths;
  return formatUsdShortest((price.nanoUsdPerGpuHour * BigInt(gpuMillionths) + 500_000n) / 1_000_000n);
}

function toFiguresJson(figures: DeploymentFigures | undefined): Readonly<Record<string, unknown>> {
  return {
    usdPerMillionTokens: figures === undefined ? null : toUnitPricesJson(figures.unitPrices),
    utilisation: figures?.utilisation ?? null,
    meanConcurrency: figures?.meanConcurrency ?? null,
  };
}

interface ProfileContext {
  readonly profiles: ReturnType<MetricsSources['profiles']>;
  readonly facts: FactBook;
  readonly nowMs: number;
}

function toProfileJson(deployment: DeploymentConfig, { profiles, facts, nowMs }: ProfileContext): unknown {
  const known = profiles.find((profile) => profile.deployment === deployment.name);
  if (known === undefined) return null;
  const pool = deployment.upstreams[0]?.pool ?? '';
  const inForce = factsInForce(facts, pool, Math.floor(nowMs / 1000))?.deployments[deployment.name];
  return {
    source: known.source,
    fitError: known.fitError ?? inForce?.profileFitError ?? null,
    ...((known.samples ?? null) === null ? {} : { samples: known.samples }),
    // In the terms below already.
    ...((known.prefillFactor ?? null) === null ? {} : { prefillFactor: known.prefillFactor }),
    // Real ÷ modelled time − 1, once enough was seen; the alarm is on where it has been beyond 0.15 for a while.
    ...((known.drift ?? null) === null ? {} : { drift: Number(known.drift?.toFixed(4)) }),
    ...(inForce?.profileDrift === undefined ? {} : { driftAlarm: true }),
    ...known.profile,
  };
}
