// Which price holds when: pure look-ups in the effective-dated price book. Reading and checking it is load-config.ts's.
import type { PriceConfig } from './config.ts';

/** One step of a price over time, in force from `fromMs` (epoch milliseconds, inclusive) until the next step. */
export type PriceStep = Pick<PriceConfig, 'fromMs' | 'from' | 'nanoUsdPerGpuHour' | 'usdPerGpuHour' | 'source'>;

/** All steps of the price named `priceName`, ascending by `fromMs`; empty when the book has none of that name. */
export function priceSchedule(prices: readonly PriceConfig[], priceName: string): readonly PriceStep[] {
  return prices.filter((price) => price.name === priceName).toSorted((a, b) => a.fromMs - b.fromMs);
}

/** The entry of `priceName` that holds at `atMs` (epoch milliseconds); undefined before its first `from`. */
export function priceInForce(prices: readonly PriceConfig[], priceName: string, atMs: number): PriceConfig | undefined {
  let found: PriceConfig | undefined;
  for (const price of prices) {
    if (price.name !== priceName || price.fromMs > atMs) continue;
    if (found === undefined || price.fromMs > found.fromMs) found = price;
  }
  return found;
}
