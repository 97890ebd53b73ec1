// What a finished answer probably costs, before its windows are settled: the work model at the concurrency of the moment. An estimate for
// people who look at one answer; the books never read it.
import { decodeStepMs, prefillMs } from '#attribution/predict-work.ts';
import type { Config, DeploymentConfig } from '#config/config.ts';
import { priceInForce } from '#config/price-book.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { formatUsd } from '#domain/nano-usd.ts';
import type { ProfileOf } from './profile-of.ts';

/** One answer as its engine counted it. */
export interface CostQuestion {
  readonly deployment: string;
  /** Prompt tokens, cached ones included. */
  readonly prompt: number;
  readonly cached: number;
  /** Tokens of all its sequences. */
  readonly completion: number;
  readonly sequences: number;
  /** Requests in flight at its engine, itself included. */
  readonly concurrency: number;
}

/** One answer of which only its time is known. */
export interface TimeQuestion {
  readonly deployment: string;
  /** From its sending to its end. */
  readonly durationMs: number;
  /** Requests in flight at its engine, itself included. */
  readonly concurrency: number;
}

/** Dollars with nine decimals; null where the deployment or its price is not known. */
export type EstimateCost = (question: CostQuestion | TimeQuestion) => string | null;

const HOUR_MS = 3_600_000;

/**
 * Milliseconds of the replica: prefill + Σ decode steps + an equal part of every iteration's fixed cost, 1 for the prefill and one for each
 * token of a sequence, which run side by side: a·p + q·p·(c + p/2) + D·(d + k·(prompt + D/2n)) + (1 + D/n)·t0·n ÷ (members), where
 * members = max(concurrency, 1) · n. Source: attribution.md, The work model; fair share in predict-work.ts.
 */
export function estimateGpuMs(profile: EngineProfile, question: Omit<CostQuestion, 'deployment'>): number {
  return (
    estimatePrefillMs(profile, question) +
    estimateDecodeMs(profile, question) +
    profile.iterationMs / Math.max(1, question.concurrency)
  );
}

/** Without the fixed cost of its iteration. */
function estimatePrefillMs(
  profile: EngineProfile,
  { prompt, cached }: Pick<CostQuestion, 'prompt' | 'cached'>,
): number {
  const found = Math.min(cached, prompt);
  return prefillMs(profile, prompt - found, found);
}

function estimateDecodeMs(profile: EngineProfile, question: Omit<CostQuestion, 'deployment'>): number {
  const { prompt, completion } = question;
  const steps = completion / Math.max(1, question.sequences);
  return (
    completion * decodeStepMs(profile, prompt + steps / 2) +
    (steps * profile.iterationMs) / Math.max(1, question.concurrency)
  );
}

/** Estimates by the configuration and the profiles in force. `nowMs` in epoch milliseconds. */
export function createCostEstimator(
  config: () => Pick<Config, 'deployments' | 'prices'>,
  nowMs: () => number,
  profileOf: ProfileOf,
): EstimateCost {
  let seen: Pick<Config, 'deployments' | 'prices'> | undefined;
  let known = new Map<string, DeploymentConfig>();
  const priceMs = (name: string, gpuMs: number): number | null => {
    const entry = known.get(name);
    const price =
      entry === undefined || seen === undefined ? undefined : priceInForce(seen.prices, entry.priceName, nowMs());
    if (entry === undefined || price === undefined) return null;
    return ((gpuMs * entry.gpuMillionths) / 1e6 / HOUR_MS) * Number(price.nanoUsdPerGpuHour);
  };
  return (question) => {
    const { deployment } = question;
    const current = config();
    if (seen !== current) {
      seen = current;
      known = new Map(current.deployments.map((entry) => [entry.name, entry]));
    }
    const prefillBy = known.get(deployment)?.prefillBy;
    const parts: readonly (number | null)[] =
      // Work metered by duration has its share of each instant, an equal one with its neighbours (attribution.md, the work model).
      'durationMs' in question
        ? [priceMs(deployment, question.durationMs / Math.max(1, question.concurrency))]
        : prefillBy === undefined
          ? [priceMs(deployment, estimateGpuMs(profileOf(deployment).profile, question))]
          : [
              priceMs(prefillBy.deployment, estimateAlonePrefillMs(profileOf(prefillBy.deployment).profile, question)),
              priceMs(deployment, estimateDecodeMs(profileOf(deployment).profile, question)),
            ];
    if (parts.includes(null)) return null;
    const nanoUsd = Math.round(parts.reduce<number>((sum, part) => sum + (part ?? 0), 0));
    return Number.isSafeInteger(nanoUsd) ? formatUsd(BigInt(nanoUsd)) : null;
  };
}

/** On GPUs of their own: who else has a prompt computed there is not seen, so that its iteration's fixed cost is counted whole. */
function estimateAlonePrefillMs(profile: EngineProfile, question: Omit<CostQuestion, 'deployment'>): number {
  return estimatePrefillMs(profile, question) + profile.iterationMs;
}
