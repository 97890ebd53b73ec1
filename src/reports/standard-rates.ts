// The standard basis: a published rate card per model from its engine profile at a planned load, and rows priced by it. Where the actual cost
// departs from the standard is one variance line (report-rows.ts), so that a team's unit price does not swing with its neighbours' load.
import type { Period } from '#domain/books.ts';
import type { Config, DeploymentConfig, FinanceConfig } from '#config/config.ts';
import type { ProfileSource } from '#domain/engine-profile.ts';
import { type FactBook, factsInForce, type PoolFacts, priceAt, type PriceEntry } from '#domain/pool-facts.ts';
import { divideHalfUp } from './largest-remainder.ts';
import type { RowSource } from './report-rows.ts';

/** The load that standard prices are worked out for. */
export type PlannedLoad = NonNullable<FinanceConfig['plannedLoad']>;

/** Half of what an H100 serves at once in chat-like traffic of 8B to 70B models: neither an empty nor a full engine. */
export const DEFAULT_PLANNED_LOAD: PlannedLoad = { concurrency: 32, contextTokens: 2000 };

/** Prices of one deployment's tokens for the whole period, nanodollars per million tokens. */
export interface StandardRate {
  readonly model: string;
  readonly deployment: string;
  /** The deployment that computes its prompts, whose work is priced by this rate too; absent: itself. */
  readonly prefillBy?: string;
  readonly input: bigint;
  /** Their prefill was paid by who filled the cache; their share of context stands in `output`. */
  readonly cachedInput: bigint;
  readonly output: bigint;
  readonly profileSource: ProfileSource;
  readonly price: PriceEntry;
}

/** fs in a ms, ms in an hour. */
const FEMTOS_PER_HOUR = 3_600_000n * 10n ** 12n;

/**
 * Published before the period: profile and price in force at its beginning, or the first of it. With B sequences at a context of C tokens, a
 * token costs, in time of the replica, a + q·C/2 to prefill and d + k·C + t0/B to generate (attribution.md, The work model); times GPUs and
 * price. Where another deployment computes the prompts (`prefillBy`), tokens to prefill cost what they take there, and the pair has one rate;
 * in a period in which that one was not there, prompts cost what they take here. Deployments without facts, price or profile in the period have
 * no rate. Sorted by model, then deployment.
 */
export function computeRateCard(
  facts: FactBook,
  period: Period,
  { load, deployments }: { readonly load: PlannedLoad; readonly deployments: Config['deployments'] },
): readonly StandardRate[] {
  const rates = new Map<string, StandardRate>();
  const present = new Set<string>();
  for (const pool of Object.keys(facts.pools).toSorted()) {
    const version = factsInForce(facts, pool, period.from) ?? firstWithin(facts, pool, period);
    if (version === undefined) continue;
    for (const name of Object.keys(version.deployments)) present.add(name);
    const price = priceAt(version, Math.max(period.from, version.effectiveFrom)) ?? version.prices[0];
    if (price === undefined || price.from >= period.to) continue;
    for (const [name, deployment] of Object.entries(version.deployments)) {
      if (rates.has(name)) continue;
      const configured = deployments.find((known) => known.name === name);
      if (configured?.work === 'duration') continue;
      const hourNanoUsd = replicaHourNanoUsd(version, price, configured);
      const { t0, a, halfQ, d, k } = deployment.profile;
      const context = BigInt(load.contextTokens);
      const toRate = (femtosPerToken: bigint): bigint =>
        divideHalfUp(femtosPerToken * 1_000_000n * hourNanoUsd, FEMTOS_PER_HOUR);
      rates.set(name, {
        model: deployment.model,
        deployment: name,
        input: toRate(BigInt(a) + BigInt(halfQ) * context),
        cachedInput: 0n,
        output: toRate(BigInt(d) + BigInt(k) * context + divideHalfUp(BigInt(t0), BigInt(load.concurrency))),
        profileSource: deployment.profileSource,
        price,
      });
    }
  }
  const pairs = deployments.filter(({ prefillBy }) => present.has(prefillBy?.deployment ?? ''));
  joinPrefill(rates, pairs);
  return [...rates.values()].toSorted(
    (x, y) => compareText(x.model, y.model) || compareText(x.deployment, y.deployment),
  );
}

/** One rate of a pair; none where either's is not known. */
function joinPrefill(rates: Map<string, StandardRate>, deployments: Config['deployments']): void {
  for (const { name, prefillBy } of deployments) {
    if (prefillBy === undefined) continue;
    const [here, there] = [rates.get(name), rates.get(prefillBy.deployment)];
    rates.delete(prefillBy.deployment);
    if (here === undefined || there === undefined) rates.delete(name);
    else rates.set(name, { ...here, prefillBy: there.deployment, input: there.input, cachedInput: there.cachedInput });
  }
}

/**
 * The sources with tokens at their rates in place of what they cost; work without tokens, and deployments without a rate, keep their actual cost.
 * Waste is worth as much less or more as its deployment's cost as a whole.
 */
export function applyRates(sources: readonly RowSource[], rates: readonly StandardRate[]): readonly RowSource[] {
  const byDeployment = new Map(
    rates.flatMap((rate) =>
      [rate.deployment, ...(rate.prefillBy === undefined ? [] : [rate.prefillBy])].map((name) => [name, rate] as const),
    ),
  );
  const sums = new Map<StandardRate, { actual: bigint; standard: bigint }>();
  const priced = sources.map((source) => {
    const rate = byDeployment.get(source.deployment);
    if (rate === undefined) return source;
    const standard = priceSource(source, rate);
    const sum = sums.get(rate) ?? { actual: 0n, standard: 0n };
    sum.actual += source.metrics.costNanoUsd;
    sum.standard += standard.metrics.costNanoUsd;
    sums.set(rate, sum);
    return standard;
  });
  return priced.map((source) => {
    const rate = byDeployment.get(source.deployment);
    const sum = rate === undefined ? undefined : sums.get(rate);
    const { wastedNanoUsd } = source.metrics;
    if (sum === undefined || sum.actual <= 0n || wastedNanoUsd === 0n) return source;
    const scaled = divideHalfUp(wastedNanoUsd * sum.standard, sum.actual);
    return { ...source, metrics: { ...source.metrics, wastedNanoUsd: scaled } };
  });
}

function priceSource(source: RowSource, rate: StandardRate): RowSource {
  const { metrics } = source;
  const at = (tokens: bigint, nanoUsdPerMillion: bigint): bigint =>
    divideHalfUp(tokens * nanoUsdPerMillion, 1_000_000n);
  const prefillNanoUsd = at(metrics.inputTokens, rate.input) + at(metrics.cachedInputTokens, rate.cachedInput);
  const decodeNanoUsd = at(metrics.outputTokens + metrics.reasoningTokens, rate.output);
  const costNanoUsd = prefillNanoUsd + decodeNanoUsd + metrics.otherNanoUsd;
  return { ...source, metrics: { ...metrics, prefillNanoUsd, decodeNanoUsd, costNanoUsd } };
}

/** Σ actual − Σ standard: what the variance line holds. */
export function sumVariance(actual: readonly RowSource[], standard: readonly RowSource[]): bigint {
  const sum = (sources: readonly RowSource[]): bigint =>
    sources.reduce((total, { metrics }) => total + metrics.costNanoUsd, 0n);
  return sum(actual) - sum(standard);
}

function firstWithin(facts: FactBook, pool: string, period: Period): PoolFacts | undefined {
  return facts.pools[pool]?.find(({ effectiveFrom }) => effectiveFrom < period.to);
}

/** One replica: a pool behind a URL that hides several engines has the GPUs of all of them. */
function replicaHourNanoUsd(
  facts: PoolFacts,
  price: PriceEntry,
  configured: Pick<DeploymentConfig, 'gpuMillionths'> | undefined,
): bigint {
  const gpuMillionths = Math.min(facts.gpuMillionths, configured?.gpuMillionths ?? facts.gpuMillionths);
  return divideHalfUp(BigInt(price.nanoUsdPerGpuHour) * BigInt(gpuMillionths), 1_000_000n);
}

function compareText(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
