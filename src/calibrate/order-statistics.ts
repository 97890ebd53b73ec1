// Medians, quantiles and the rejection of outliers by the median absolute deviation.

/** Quantile by linear interpolation, `share` 0 … 1; NaN of nothing. */
export function readQuantile(values: readonly number[], share: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((left, right) => left - right);
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? below;
  return below + (above - below) * (place - Math.floor(place));
}

/** NaN of nothing. */
export function readMedian(values: readonly number[]): number {
  return readQuantile(values, 0.5);
}

/** Deviation of normal values with this median absolute deviation: 1 / Φ⁻¹(3/4). */
const MAD_TO_DEVIATION = 1.4826;

/** Standard deviation estimated from the median absolute deviation, same unit; NaN of nothing. */
export function readRobustDeviation(values: readonly number[]): number {
  const median = readMedian(values);
  return MAD_TO_DEVIATION * readMedian(values.map((value) => Math.abs(value - median)));
}

/** Deviations from the median beyond which a value is an outlier (Iglewicz and Hoaglin's 3.5). */
const OUTLIER_DEVIATIONS = 3.5;
/** Never closer than this part of the median: a handful of nearly equal values has hardly any deviation. */
const OUTLIER_SHARE_MIN = 0.05;

/** Says of each value whether it lies with the others. Fewer than four tell nothing of each other: all are kept. */
export function keepInliers(values: readonly number[]): readonly boolean[] {
  if (values.length < 4) return values.map(() => true);
  const median = readMedian(values);
  const limit = Math.max(OUTLIER_DEVIATIONS * readRobustDeviation(values), OUTLIER_SHARE_MIN * Math.abs(median));
  return values.map((value) => Math.abs(value - median) <= limit);
}
