// Rollup increments of one claim: money in the hour of its windows, counts and tokens in the hour a record ended.
// Not here: how money was split (claim.ts).
import type { CellIncrement, CellKey, CellMetric } from '#domain/settlement.ts';
import { totalTokens } from '#domain/tokens.ts';
import { UNATTRIBUTED_ROW } from '#domain/unattributed.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { hourOf, windowOf } from '#domain/window.ts';
import { type HourCharges, sumPhases, type TrackedAttempt } from './tracked-attempt.ts';

type Dimensions = Pick<UsageRecord, 'team' | 'project' | 'keyId' | 'model' | 'deployment'>;

const SOURCE_METRICS = {
  reported: 'reportedTokens',
  counted: 'countedTokens',
  estimated: 'estimatedTokens',
} as const satisfies Record<string, CellMetric>;

interface Cell {
  readonly key: CellKey;
  /** Money and GPU time; exact beyond 2^53. */
  readonly amounts: Map<CellMetric, bigint>;
  /** Requests and tokens of one claim: far below 2^53. */
  readonly counts: Map<CellMetric, number>;
}

/** Sums increments by cell; metrics that stay zero are left out. */
export class ClaimIncrements {
  readonly #cells = new Map<string, Cell>();
  /** Neighbours mostly fall into the same cell: the last one is not looked up again. */
  #last: Cell | null = null;

  /** Money of the windows of this claim; `attempt` null: nobody's. */
  addCost(attempt: TrackedAttempt | null, charges: Readonly<HourCharges>): void {
    const dimensions = attempt?.start?.identity ?? attempt?.record ?? UNATTRIBUTED_ROW;
    for (const charge of charges) {
      const { amounts } = this.#cell(dimensions, charge.hour, charge.deployment);
      addAmount(amounts, 'gpuMicros', sumPhases(charge.gpuMicros));
      addAmount(amounts, 'costNanoUsd', sumPhases(charge.nanoUsd));
      addAmount(amounts, 'prefillNanoUsd', charge.nanoUsd.prefill);
      addAmount(amounts, 'decodeNanoUsd', charge.nanoUsd.decode);
      addAmount(amounts, 'otherNanoUsd', charge.nanoUsd.other);
    }
  }

  /** A record whose money is complete with this claim: counts, tokens, and its whole cost as waste unless it completed. */
  addSettled(record: UsageRecord, charges: Readonly<HourCharges>): void {
    const { counts } = this.#cell(record, hourOf(windowOf(record.endedAtMs)));
    addRequest(counts, record);
    addTokens(counts, record);
    if (record.outcome === 'completed') return;
    for (const charge of charges) {
      const { amounts } = this.#cell(record, charge.hour, charge.deployment);
      addAmount(amounts, 'wastedNanoUsd', sumPhases(charge.nanoUsd));
      addAmount(amounts, 'wastedGpuMicros', sumPhases(charge.gpuMicros));
    }
  }

  /** The increments, cells without any left out. */
  read(): CellIncrement[] {
    return [...this.#cells.values()]
      .filter(({ amounts, counts }) => amounts.size > 0 || counts.size > 0)
      .map(({ key, amounts, counts }) => ({
        ...key,
        metrics: Object.fromEntries([...amounts, ...counts].map(([metric, value]) => [metric, value.toString()])),
      }));
  }

  /** `elsewhere`: the deployment whose GPUs it was, where that is not the record's own. */
  #cell(dimensions: Dimensions, hour: number, elsewhere: string | null = null): Cell {
    const team = dimensions.team;
    const project = dimensions.project ?? '';
    const keyId = dimensions.keyId ?? '';
    const model = dimensions.model ?? '';
    const deployment = elsewhere ?? dimensions.deployment ?? '';
    const last = this.#last?.key;
    if (
      this.#last !== null &&
      last?.hour === hour &&
      last.team === team &&
      last.project === project &&
      last.keyId === keyId &&
      last.model === model &&
      last.deployment === deployment
    ) {
      return this.#last;
    }
    const id = [hour, team, project, keyId, model, deployment].join('\0');
    let cell = this.#cells.get(id);
    if (cell === undefined) {
      cell = { key: { hour, team, project, keyId, model, deployment }, amounts: new Map(), counts: new Map() };
      this.#cells.set(id, cell);
    }
    this.#last = cell;
    return cell;
  }
}

function addAmount(amounts: Map<CellMetric, bigint>, metric: CellMetric, value: bigint): void {
  if (value !== 0n) amounts.set(metric, (amounts.get(metric) ?? 0n) + value);
}

function addCount(counts: Map<CellMetric, number>, metric: CellMetric, value: number): void {
  if (value !== 0) counts.set(metric, (counts.get(metric) ?? 0) + value);
}

function addRequest(counts: Map<CellMetric, number>, { outcome, lastAttempt, tokens }: UsageRecord): void {
  if (outcome === 'rejected') {
    addCount(counts, 'rejectedRequests', 1);
    return;
  }
  addCount(counts, 'attempts', 1);
  if (!lastAttempt) return;
  const failed = outcome === 'upstream_error' || outcome === 'timed_out' || outcome === 'interrupted';
  addCount(counts, 'requests', 1);
  if (failed) addCount(counts, 'failedRequests', 1);
  if (outcome === 'client_aborted') addCount(counts, 'abortedRequests', 1);
  if (totalTokens(tokens) === null) addCount(counts, 'requestsWithoutTokens', 1);
}

function addTokens(counts: Map<CellMetric, number>, { tokens, tokenSource }: UsageRecord): void {
  addCount(counts, 'inputTokens', tokens.input ?? 0);
  addCount(counts, 'cachedInputTokens', tokens.cachedInput ?? 0);
  addCount(counts, 'outputTokens', tokens.output ?? 0);
  addCount(counts, 'reasoningTokens', tokens.reasoning ?? 0);
  if (tokenSource !== 'unknown') addCount(counts, SOURCE_METRICS[tokenSource], totalTokens(tokens) ?? 0);
}
