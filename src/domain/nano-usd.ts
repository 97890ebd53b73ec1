// Money: integer nanodollars (1e-9 USD) as bigint. Parsing and formatting only; splitting lives in attribution/split-exactly.

/** Nanodollars in one dollar. */
export const NANO_PER_USD = 1_000_000_000n;

/**
 * Parses a decimal amount of dollars such as `2.5`, `"0.000000001"` or `1e-3` exactly into nanodollars.
 * Throws a RangeError for anything that is not a finite decimal or has more than 9 decimal places.
 */
export function parseNanoUsd(amount: string | number): bigint {
  const text = String(amount).trim();
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text);
  const whole = match?.[2] ?? '';
  const fraction = match?.[3] ?? '';
  if (match === null || whole + fraction === '') throw new RangeError(`not a decimal amount of dollars: ${text}`);
  const exponent = Number(match[4] ?? 0) + 9 - fraction.length;
  let nano = BigInt(whole + fraction);
  if (exponent >= 0) {
    nano *= 10n ** BigInt(exponent);
  } else {
    const divisor = 10n ** BigInt(-exponent);
    if (nano % divisor !== 0n) throw new RangeError(`more than 9 decimal places of a dollar: ${text}`);
    nano /= divisor;
  }
  return match[1] === '-' ? -nano : nano;
}

/** Dollars with exactly nine decimals: `8573387n` → `"0.008573387"`. */
export function formatUsd(nanoUsd: bigint): string {
  return formatScaled(nanoUsd, 9);
}

/** Dollars as the shortest decimal: `2500000000n` → `"2.5"`, `0n` → `"0"`. */
export function formatUsdShortest(nanoUsd: bigint): string {
  return formatUsd(nanoUsd).replace(/\.?0+$/, '');
}

/** A decimal string of `value / 10^places` with all `places` decimals. */
export function formatScaled(value: bigint, places: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(places + 1, '0');
  const cut = digits.length - places;
  const text = places === 0 ? digits : `${digits.slice(0, cut)}.${digits.slice(cut)}`;
  return value < 0n ? `-${text}` : text;
}
