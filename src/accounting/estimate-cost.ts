// What a finished answer probably costs, before its windows are settled: the work model at the concurrency of the moment. An estimate for
// people who look at one answer; the books never read it.
import { decodeStepMs, prefillMs } from '#attribution/predict-work.ts';
import type { Config } from '#config/config.ts';
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
  const { prompt, completion } = question;
  const cached = Math.min(question.cached, prompt);
  const sequences = Math.max(1, question.sequences);
  const steps = completion / sequences;
  const concurrency = Math.max(1, question.concurrency);
  return (
    prefillMs(profile, prompt - cached, cached) +
    completion * decodeStepMs(profile, prompt + steps / 2) +
    ((1 + steps) * profile.iterationMs) / concurrency
  );
}

/** Estimates by the configuration and the profiles in force. `nowMs` in epoch milliseconds. */
export function createCostEstimator(
  config: () => Pick<Config, 'deployments' | 'prices'>,
  nowMs: () => number,
  profileOf: ProfileOf,
): EstimateCost {
  let seen: Pick<Config, 'deployments' | 'prices'> | undefined;
  let known = new Map<string, { readonly gpus: number; readonly priceName: string }>();
  return ({ deployment, ...question }) => {
    const current = config();
    if (seen !== current) {
      seen = current;
      known = new Map(
        current.deployments.map((entry) => [
          entry.name,
          { gpus: entry.gpuMillionths / 1e6, priceName: entry.priceName },
        ]),
      );
    }
    const entry = known.get(deployment);
    const price = entry === undefined ? undefined : priceInForce(current.prices, entry.priceName, nowMs());
    if (entry === undefined || price === undefined) return null;
    // Work metered by duration has its share of each instant, an equal one with its neighbours (attribution.md, the work model).
    const gpuMs =
      'durationMs' in question
        ? question.durationMs / Math.max(1, question.concurrency)
        : estimateGpuMs(profileOf(deployment).profile, question);
    const gpuHours = (gpuMs * entry.gpus) / HOUR_MS;
    const nanoUsd = Math.round(gpuHours * Number(price.nanoUsdPerGpuHour));
    return Number.isSafeInteger(nanoUsd) ? formatUsd(BigInt(nanoUsd)) : null;
  };
}
