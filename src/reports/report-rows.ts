// Sums cells into the rows of a report and prices them. Which idle belongs to which cell is idle-policy.ts's.
import type { RollupCell } from '#domain/books.ts';
import type { CellMetric } from '#domain/settlement.ts';
import { readDimensions } from './dimensions.ts';
import type { Dimension, DimensionContext, Dimensioned, DimensionValues } from './dimensions.ts';
import type { IdleShare } from './idle-policy.ts';
import { divideHalfUp, roundToCents } from './largest-remainder.ts';
import { addSums, createSums, sumTokens } from './metric-sums.ts';
import type { MetricSums } from './metric-sums.ts';
import type { ReportCorrection, ReportRow, UnitPrices } from './report-shape.ts';

/** Something to be summed: a cell, or a settled record with its user and tags. */
export type RowSource = Dimensioned & Pick<RollupCell, 'metrics'>;

export interface RowsRequest {
  readonly groupBy: readonly Dimension[];
  readonly context: DimensionContext;
  readonly sources: readonly RowSource[];
  readonly idleShares: readonly IdleShare[];
  readonly corrections?: readonly ReportCorrection[];
  /** False: idle is not shared, and `blendedWithIdle` is null. */
  readonly idleShared: boolean;
  /** Nanodollars of the variance row of the standard basis; 0 or absent: there is none. */
  readonly varianceNanoUsd?: bigint;
}

/** First dimension of the variance row. */
export const VARIANCE = '(variance)';

/** Rows in the order of their dimension values, nulls last; cents by largest remainder over all of them. */
export function sumRows(request: RowsRequest): readonly ReportRow[] {
  const drafts = new Map<string, Draft>();
  for (const source of request.sources) addSums(draftOf(drafts, source, request).sums, source.metrics);
  for (const { target, nanoUsd } of request.idleShares) draftOf(drafts, target, request).idleShareNanoUsd += nanoUsd;
  for (const line of request.corrections ?? []) {
    draftOf(drafts, { ...line, start: line.hour }, request).correctionNanoUsd += line.nanoUsd;
  }
  const sorted = [...drafts.values()].filter(isUsed).sort((a, b) => compareValues(a.dimensions, b.dimensions));
  const { varianceNanoUsd = 0n } = request;
  if (varianceNanoUsd !== 0n) sorted.push(draftVariance(request, varianceNanoUsd));
  const cents = roundToCents(sorted.map(totalOf));
  return sorted.map((draft, index) => {
    const { dimensions, sums, idleShareNanoUsd, correctionNanoUsd, isVariance } = draft;
    return {
      dimensions,
      metrics: sums,
      idleShareNanoUsd,
      correctionNanoUsd,
      totalNanoUsd: totalOf(draft),
      amountCents: cents[index] ?? 0n,
      unitPrices: priceRow(sums, request.idleShared ? sums.costNanoUsd + idleShareNanoUsd : null),
      ...(isVariance === true ? { isVariance } : {}),
    };
  });
}

function totalOf({ sums, idleShareNanoUsd, correctionNanoUsd }: Draft): bigint {
  return sums.costNanoUsd + idleShareNanoUsd + correctionNanoUsd;
}

/**
 * Nanodollars per million tokens: prefill ÷ (input + cachedInput), decode ÷ (output + reasoning), cost ÷ total, total with idle ÷ total
 * (contract §6). `totalNanoUsd` null: idle is not shared. Example: 3_000_000n over 9_512 tokens → 315_391_085n.
 */
export function priceRow(sums: Readonly<Record<CellMetric, bigint>>, totalNanoUsd: bigint | null): UnitPrices {
  const tokens = sumTokens(sums);
  return {
    input: perMillion(sums.prefillNanoUsd, sums.inputTokens + sums.cachedInputTokens),
    output: perMillion(sums.decodeNanoUsd, sums.outputTokens + sums.reasoningTokens),
    blended: perMillion(sums.costNanoUsd, tokens),
    blendedWithIdle: totalNanoUsd === null ? null : perMillion(totalNanoUsd, tokens),
  };
}

/** Nanodollars per million tokens, rounded half up; null without tokens. */
export function perMillion(nanoUsd: bigint, tokens: bigint): bigint | null {
  return tokens > 0n ? divideHalfUp(nanoUsd * 1_000_000n, tokens) : null;
}

interface Draft {
  readonly dimensions: DimensionValues;
  readonly sums: MetricSums;
  idleShareNanoUsd: bigint;
  correctionNanoUsd: bigint;
  readonly isVariance?: true;
}

function draftVariance({ groupBy }: RowsRequest, nanoUsd: bigint): Draft {
  const sums = createSums();
  sums.costNanoUsd = nanoUsd;
  sums.otherNanoUsd = nanoUsd;
  const dimensions = Object.fromEntries(groupBy.map((name, index) => [name, index === 0 ? VARIANCE : null]));
  const costCentre = groupBy.includes('team') && !groupBy.includes('costCenter') ? { costCenter: null } : {};
  return {
    dimensions: { ...dimensions, ...costCentre },
    sums,
    idleShareNanoUsd: 0n,
    correctionNanoUsd: 0n,
    isVariance: true,
  };
}

function draftOf(drafts: Map<string, Draft>, source: Dimensioned, { groupBy, context }: RowsRequest): Draft {
  const dimensions = readDimensions(source, groupBy, context);
  const key = formatKey(dimensions);
  const known = drafts.get(key);
  if (known !== undefined) return known;
  const draft = { dimensions, sums: createSums(), idleShareNanoUsd: 0n, correctionNanoUsd: 0n };
  drafts.set(key, draft);
  return draft;
}

/** Unambiguous whatever the names hold: each value is preceded by its length, null has none. Cheaper than JSON over many cells. */
function formatKey(dimensions: DimensionValues): string {
  let key = '';
  for (const name in dimensions) {
    const value = dimensions[name] ?? null;
    key += value === null ? '-;' : `${value.length}:${value};`;
  }
  return key;
}

/** A row of nothing but zeros says nothing: it is left over where records explain all of a cell. */
function isUsed({ sums, idleShareNanoUsd, correctionNanoUsd }: Draft): boolean {
  return idleShareNanoUsd !== 0n || correctionNanoUsd !== 0n || Object.values(sums).some((value) => value !== 0n);
}

function compareValues(a: DimensionValues, b: DimensionValues): number {
  for (const name of Object.keys(a)) {
    const [left, right] = [a[name] ?? null, b[name] ?? null];
    if (left === right) continue;
    if (left === null) return 1;
    if (right === null) return -1;
    return left < right ? -1 : 1;
  }
  return 0;
}
