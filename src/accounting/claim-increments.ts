// Rollup increments of one claim: money in the hour of its windows, counts and tokens in the hour a record ended.
// Not here: how money was split (claim.ts).
import type { CellIncrement, CellKey, CellMetric } from '#domain/settlement.ts';
import { totalTokens } from '#domain/tokens.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { hourOf, windowOf } from '#domain/window.ts';
import { type HourCharge, sumPhases, type TrackedAttempt } from './tracked-attempt.ts';

const UNATTRIBUTED_TEAM = '(unattributed)';

type Dimensions = Pick<UsageRecord, 'team' | 'project' | 'keyId' | 'model' | 'deployment'>;

const NOBODY: Dimensions = { team: UNATTRIBUTED_TEAM, project: null, keyId: null, model: null, deployment: null };

/** Sums increments by cell; metrics that stay zero are left out. */
export class ClaimIncrements {
  readonly #cells = new Map<string, { readonly key: CellKey; readonly metrics: Map<CellMetric, bigint> }>();

  /** Money of the windows of this claim; `attempt` null: nobody's. */
  addCost(attempt: TrackedAttempt | null, charges: ReadonlyMap<number, HourCharge>): void {
    const dimensions = attempt?.start?.identity ?? attempt?.record ?? NOBODY;
    for (const [hour, charge] of charges) {
      this.#add(dimensions, hour, {
        gpuMicros: sumPhases(charge.gpuMicros),
        costNanoUsd: sumPhases(charge.nanoUsd),
        prefillNanoUsd: charge.nanoUsd.prefill,
        decodeNanoUsd: charge.nanoUsd.decode,
        otherNanoUsd: charge.nanoUsd.other,
      });
    }
  }

  /** A record whose money is complete with this claim: counts, tokens, and its whole cost as waste unless it completed. */
  addSettled(record: UsageRecord, charges: ReadonlyMap<number, HourCharge>): void {
    this.#add(record, hourOf(windowOf(record.endedAtMs)), { ...countsOf(record), ...tokensOf(record) });
    if (record.outcome === 'completed') return;
    for (const [hour, charge] of charges) {
      this.#add(record, hour, {
        wastedNanoUsd: sumPhases(charge.nanoUsd),
        wastedGpuMicros: sumPhases(charge.gpuMicros),
      });
    }
  }

  /** The increments, cells without any left out. */
  read(): CellIncrement[] {
    return [...this.#cells.values()]
      .filter((cell) => cell.metrics.size > 0)
      .map(({ key, metrics }) => ({
        ...key,
        metrics: Object.fromEntries([...metrics].map(([metric, value]) => [metric, value.toString()])),
      }));
  }

  #add(dimensions: Dimensions, hour: number, values: Partial<Record<CellMetric, bigint>>): void {
    const key: CellKey = {
      hour,
      team: dimensions.team,
      project: dimensions.project ?? '',
      keyId: dimensions.keyId ?? '',
      model: dimensions.model ?? '',
      deployment: dimensions.deployment ?? '',
    };
    const id = [hour, key.team, key.project, key.keyId, key.model, key.deployment].join('\0');
    let cell = this.#cells.get(id);
    if (cell === undefined) this.#cells.set(id, (cell = { key, metrics: new Map() }));
    for (const [metric, value] of Object.entries(values) as [CellMetric, bigint][]) {
      if (value !== 0n) cell.metrics.set(metric, (cell.metrics.get(metric) ?? 0n) + value);
    }
  }
}

function countsOf(record: UsageRecord): Partial<Record<CellMetric, bigint>> {
  const { outcome, lastAttempt } = record;
  if (outcome === 'rejected') return { rejectedRequests: 1n };
  if (!lastAttempt) return { attempts: 1n };
  const failed = outcome === 'upstream_error' || outcome === 'timed_out' || outcome === 'interrupted';
  return {
    attempts: 1n,
    requests: 1n,
    failedRequests: failed ? 1n : 0n,
    abortedRequests: outcome === 'client_aborted' ? 1n : 0n,
    requestsWithoutTokens: totalTokens(record.tokens) === null ? 1n : 0n,
  };
}

function tokensOf(record: UsageRecord): Partial<Record<CellMetric, bigint>> {
  const { input, cachedInput, output, reasoning } = record.tokens;
  const total = BigInt(totalTokens(record.tokens) ?? 0);
  const { tokenSource } = record;
  return {
    inputTokens: BigInt(input ?? 0),
    cachedInputTokens: BigInt(cachedInput ?? 0),
    outputTokens: BigInt(output ?? 0),
    reasoningTokens: BigInt(reasoning ?? 0),
    reportedTokens: tokenSource === 'reported' ? total : 0n,
    countedTokens: tokenSource === 'counted' ? total : 0n,
    estimatedTokens: tokenSource === 'estimated' ? total : 0n,
  };
}
