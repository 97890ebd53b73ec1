// The report as the inside knows it: contract §6 with money as bigint. render-json.ts turns it into the wire's shape.
import type { BusySource } from '#domain/busy-source.ts';
import type { CellKey, CellMetric } from '#domain/settlement.ts';
import type { Dimension, DimensionValues } from './dimensions.ts';
import type { PlannedLoad, StandardRate } from './standard-rates.ts';

/** How idle reaches the teams. `reserved` of the contract is not delivered by this version. */
export type IdlePolicy = 'separate' | 'proportional' | 'even';

/** What rows are priced by: GPU time really spent, or the rate card with one line of variance. */
export type Basis = 'actual' | 'standard';

/** Nanodollars per million tokens, rounded half up; null without tokens. */
export interface UnitPrices {
  readonly input: bigint | null;
  readonly output: bigint | null;
  readonly blended: bigint | null;
  /** Null where no idle is shared out. */
  readonly blendedWithIdle: bigint | null;
}

export interface ReportRow {
  /** In the order asked; `costCenter` follows `team` where only the team was asked for. */
  readonly dimensions: DimensionValues;
  readonly metrics: Readonly<Record<CellMetric, bigint>>;
  readonly idleShareNanoUsd: bigint;
  /** What corrections added or took; not part of `metrics`, so that unit prices stay those of the work. */
  readonly correctionNanoUsd: bigint;
  /** cost + idle share + corrections. */
  readonly totalNanoUsd: bigint;
  readonly amountCents: bigint;
  readonly unitPrices: UnitPrices;
  /** The one row of the standard basis that holds Σ actual − Σ standard; may be negative. */
  readonly isVariance?: true;
}

/** One side of a correction. */
export interface ReportCorrection extends Omit<CellKey, 'hour'> {
  /** `adjustment`: by a person; `late`: money of a closed month that was claimed later. */
  readonly kind: 'adjustment' | 'late';
  readonly id: string;
  /** Epoch seconds: when it was made, and the hour it stands in. */
  readonly at: number;
  readonly hour: number;
  /** UTC month that it corrects, such as `2026-10`. */
  readonly corrects: string;
  readonly author: string;
  readonly reason: string;
  /** Of the row it belongs to, as ReportRow has them. */
  readonly dimensions: DimensionValues;
  /** Added to the row; the lines of one correction sum to 0. */
  readonly nanoUsd: bigint;
}

export interface ReportPrice {
  readonly name: string;
  readonly nanoUsdPerGpuHour: bigint;
  /** Epoch second. */
  readonly from: number;
}

/** Capacity of one set of deployments on one GPU model. */
export interface ReportPool {
  /** Deployment name; several that share GPUs are joined by `+`. */
  readonly deployment: string;
  readonly gpu: string;
  /** A URL of one of its deployments hides several engines (`replicas`): how requests met in each of them is not seen. */
  readonly pooled: boolean;
  /** In force at some moment of the period, ascending by `from`. */
  readonly prices: readonly ReportPrice[];
  readonly profileSource: string | null;
  readonly profileFitError: number | null;
  /** Windows that a learned profile rests on; null or absent where nothing was learned. */
  readonly profileSamples?: number | null;
  /** The farthest that an engine departed from its profile while the drift alarm was on (real ÷ modelled time − 1); null or absent: it never was. */
  readonly profileDrift?: number | null;
  /** Measured part of the declared prefill terms that counted last; null or absent where none was measured. */
  readonly profilePrefillFactor?: number | null;
  readonly capacityGpuMicros: bigint;
  readonly capacityNanoUsd: bigint;
  readonly chargedNanoUsd: bigint;
  readonly idleNanoUsd: bigint;
  readonly unavailableNanoUsd: bigint;
  readonly unobservedNanoUsd: bigint;
  readonly unmeteredNanoUsd: bigint;
  /** Seconds with charged work, by where their busy time was read. */
  readonly busySeconds: Readonly<Record<BusySource, bigint>>;
  /** Charged but not yet in any team's row. */
  readonly pendingNanoUsd: bigint;
}

export interface ReportSaving {
  readonly model: string;
  readonly baseline: string;
  /** Nanodollars per million tokens. */
  readonly baselineNanoUsd: bigint;
  /** Cost and idle of the model's pools per million tokens; null without tokens. */
  readonly measuredNanoUsd: bigint | null;
  /** baseline ÷ measured in tenths; null without a measured price above 0. */
  readonly factorTenths: bigint | null;
  /** (baseline − measured) × tokens; null without tokens. Negative where the baseline would have been cheaper. */
  readonly avoidedNanoUsd: bigint | null;
}

export interface ReportTotals {
  readonly capacityNanoUsd: bigint;
  readonly chargedNanoUsd: bigint;
  readonly idleNanoUsd: bigint;
  readonly unmeteredNanoUsd: bigint;
  /** Charged but in no row yet. */
  readonly pendingNanoUsd: bigint;
  /** Idle that the policy gave to nobody. */
  readonly unsharedNanoUsd: bigint;
  /** Totals of rows left out by a team filter; 0 without one. */
  readonly otherTeamsNanoUsd: bigint;
  /** capacity − charged − idle − unmetered of the booked entries: a check, never forced. */
  readonly differenceNanoUsd: bigint;
}

/** What is still to come, came too late, or belongs to nobody; of the whole period, whatever team was asked for. */
export interface ReportOutstanding {
  /** Charged but in no row yet: the same as of the totals. */
  readonly pendingNanoUsd: bigint;
  /** Seconds of the period that have passed and are not frozen; null before the first gateway joined the books. */
  readonly unfrozenSeconds: number | null;
  /** Finished requests of the period whose cost is not settled, as far as the gateway that was asked knows; null: none was asked. */
  readonly unsettledRequests: number | null;
  /** Money of closed months that was claimed later and stands in this period as corrections. */
  readonly lateNanoUsd: bigint;
  /**
   * Windows of one gateway's work that came after they were frozen: their tokens are counted, their cost is 0. The store counts them without
   * their period, so this is of all periods, since the books began or were rebuilt; null in a closed report, which must not change.
   */
  readonly lateWindowsOfAllPeriods: number | null;
  /** Charged to the row `(unattributed)`, corrections included, idle left out: nobody can say any more whose work it was. Negative where corrections took more from there than came. */
  readonly unattributedNanoUsd: bigint;
}

export interface ChargebackReport {
  /** Epoch seconds. */
  readonly from: number;
  readonly to: number;
  readonly timezone: string;
  readonly idlePolicy: IdlePolicy;
  readonly basis: Basis;
  /** Null on the actual basis. */
  readonly standard: {
    readonly load: PlannedLoad;
    readonly rates: readonly StandardRate[];
    readonly varianceNanoUsd: bigint;
  } | null;
  readonly groupBy: readonly Dimension[];
  /** Null: every team. */
  readonly team: string | null;
  readonly generatedAt: number;
  /** First epoch second not settled yet; null before the first gateway joined the books. */
  readonly settledThrough: number | null;
  readonly complete: boolean;
  /** `closed`: nothing of the period changes any more, and the report reproduces byte for byte. */
  readonly periodStatus: 'open' | 'closed';
  /** Hash over name, start and amount of every price of the period. */
  readonly priceSet: string;
  /** Null before the first freeze. */
  readonly ledgerHash: string | null;
  readonly notes: readonly string[];
  readonly rows: readonly ReportRow[];
  readonly pools: readonly ReportPool[];
  readonly savings: readonly ReportSaving[];
  readonly corrections: readonly ReportCorrection[];
  readonly totals: ReportTotals;
  readonly outstanding: ReportOutstanding;
}
