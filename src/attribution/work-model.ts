// The work model in exact integers: what a window's features weigh under fixed coefficients, in all and by phase.
// Not here: how features are collected (accounting), where coefficients come from (frozen-weights.ts), floats (predict-work.ts).
import type { FrozenWeights, Phase, WindowFeatures } from '#domain/settlement.ts';

/** Buckets of 100 ms in one window: the length of `s`, `u` and `n`. */
export const BUCKETS_PER_WINDOW = 10;

interface Coefficients<Integer> {
  readonly a: Integer;
  readonly halfQ: Integer;
  readonly d: Integer;
  readonly k: Integer;
  /** By bucket, per step and per tokenless millisecond. */
  readonly r: readonly Integer[];
  readonly e: readonly Integer[];
}

/** Coefficients of one deployment in one frozen window, femtoseconds per unit of each feature. */
export interface DeploymentWeights extends Coefficients<bigint> {
  /** The same as floats: exact as far as a weight stays below 2^53 (9 s), which nearly all do. */
  readonly floats: Coefficients<number>;
  /** True: milliseconds in flight are the weight, nothing else counts. */
  readonly byFlight: boolean;
}

/** Features of one attempt in one window; `prefillSteps` is the part of `s` that ended a prefill (phases only). */
export interface SliceFeatures extends WindowFeatures {
  prefillSteps: number[];
}

/** Features of nothing: the start of a sum. */
export function createFeatures(): WindowFeatures {
  return { p: 0, q: 0, d: 0, k: 0, s: emptyBuckets(), u: emptyBuckets(), flightMs: 0 };
}

/** A slice in which nothing happened yet. */
export function createSliceFeatures(): SliceFeatures {
  return { ...createFeatures(), prefillSteps: emptyBuckets() };
}

/** Adds `features` into `sum` in place; a slice's `prefillSteps` are left out, since publications do not carry them. */
export function addFeatures(sum: WindowFeatures, features: Readonly<WindowFeatures>): void {
  sum.p += features.p;
  sum.q += features.q;
  sum.d += features.d;
  sum.k += features.k;
  for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
    sum.s[bucket] = (sum.s[bucket] ?? 0) + (features.s[bucket] ?? 0);
    sum.u[bucket] = (sum.u[bucket] ?? 0) + (features.u[bucket] ?? 0);
  }
  sum.flightMs += features.flightMs;
}

/**
 * The coefficients of every deployment of a frozen window, by name. A deployment that is absent had no facts: its features weigh 0
 * (`weightOf` takes undefined). Throws SyntaxError on text that is no integer.
 */
export function parseFrozenWeights(frozen: FrozenWeights): ReadonlyMap<string, DeploymentWeights> {
  const e = frozen.e.map(BigInt);
  return new Map(
    Object.entries(frozen.deployments).map(([deployment, terms]) => {
      const [a, halfQ, d, k] = [BigInt(terms.a), BigInt(terms.halfQ), BigInt(terms.d), BigInt(terms.k)];
      const r = terms.r.map(BigInt);
      const floats = {
        a: Number(a),
        halfQ: Number(halfQ),
        d: Number(d),
        k: Number(k),
        r: r.map(Number),
        e: e.map(Number),
      };
      return [deployment, { a, halfQ, d, k, r, e, floats, byFlight: frozen.byFlight }];
    }),
  );
}

/**
 * W(x) = a·P + halfQ·Q + d·D + k·K + Σ_b (r_b·s_b + e_b·u_b), femtoseconds; milliseconds in flight where `byFlight`.
 * Linear in the features, so W(Σx) = ΣW(x) exactly: a process that publishes sums and later splits its share by slices loses
 * nothing. Features must be integers. Source: settlement.md, Arithmetic.
 */
export function weightOf(features: Readonly<WindowFeatures>, weights: DeploymentWeights | undefined): bigint {
  if (weights === undefined) return 0n;
  if (weights.byFlight) return BigInt(features.flightMs);
  const { floats } = weights;
  const prefill = floats.a * features.p + floats.halfQ * features.q;
  const decode = floats.d * features.d + floats.k * features.k;
  const weight = prefill + decode + countBuckets(features.s, floats.r) + countBuckets(features.u, floats.e);
  if (isExact(features, weight)) return BigInt(weight);
  return (
    weights.a * BigInt(features.p) +
    weights.halfQ * BigInt(features.q) +
    weights.d * BigInt(features.d) +
    weights.k * BigInt(features.k) +
    sumBuckets(features.s, weights.r) +
    sumBuckets(features.u, weights.e)
  );
}

/**
 * The same weight by phase, Σ = `weightOf` exactly: prefill = a and q terms and the prefill's own steps, decode = d and k terms and the
 * other steps, other = attempts without tokens, and everything where milliseconds in flight are the weight.
 * `prefillSteps` must not exceed `s` in any bucket.
 */
export function phaseWeights(
  features: Readonly<SliceFeatures>,
  weights: DeploymentWeights | undefined,
): Readonly<Record<Phase, bigint>> {
  if (weights === undefined) return { prefill: 0n, decode: 0n, other: 0n };
  if (weights.byFlight) return { prefill: 0n, decode: 0n, other: BigInt(features.flightMs) };
  const { floats } = weights;
  const prefillStepFemtos = countBuckets(features.prefillSteps, floats.r);
  const prefill = floats.a * features.p + floats.halfQ * features.q + prefillStepFemtos;
  const steps = floats.d * features.d + floats.k * features.k + countBuckets(features.s, floats.r);
  const other = countBuckets(features.u, floats.e);
  if (isExact(features, prefill + steps + other)) {
    return { prefill: BigInt(prefill), decode: BigInt(steps - prefillStepFemtos), other: BigInt(other) };
  }
  const prefillSteps = sumBuckets(features.prefillSteps, weights.r);
  return {
    prefill: weights.a * BigInt(features.p) + weights.halfQ * BigInt(features.q) + prefillSteps,
    decode:
      weights.d * BigInt(features.d) +
      weights.k * BigInt(features.k) +
      sumBuckets(features.s, weights.r) -
      prefillSteps,
    other: sumBuckets(features.u, weights.e),
  };
}

/** BUCKETS_PER_WINDOW zeros; a literal, since every slice has three. */
function emptyBuckets(): number[] {
  return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
}

/** Floats added up in this way are the integers that they stand for: none is below zero, and the sum is below 2^53. */
function isExact({ p, q, d, k }: Readonly<WindowFeatures>, sum: number): boolean {
  return p >= 0 && q >= 0 && d >= 0 && k >= 0 && sum <= Number.MAX_SAFE_INTEGER;
}

/** `sumBuckets` in floats; infinite where a count is below zero. */
function countBuckets(counts: readonly number[], perCount: readonly number[]): number {
  let sum = 0;
  for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
    const count = counts[bucket] ?? 0;
    if (count < 0) return Number.POSITIVE_INFINITY;
    if (count !== 0) sum += count * (perCount[bucket] ?? 0);
  }
  return sum;
}

function sumBuckets(counts: readonly number[], perCount: readonly bigint[]): bigint {
  let sum = 0n;
  for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
    const count = counts[bucket] ?? 0;
    if (count !== 0) sum += BigInt(count) * (perCount[bucket] ?? 0n);
  }
  return sum;
}
