// Which price holds when: pure look-ups in the effective-dated price book. Reading and checking it is load-config.ts's.
import { formatUsdShortest } from '#domain/nano-usd.ts';
import { type FactBook, readPriceSchedules } from '#domain/pool-facts.ts';
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

/** The book with the store's schedule of every name that the store knows: a change of the file that was refused is not in force. */
export function pricesInForce(prices: readonly PriceConfig[], facts: FactBook): readonly PriceConfig[] {
  const schedules = readPriceSchedules(facts);
  const named = new Map(prices.map((price) => [price.name, price]));
  return [...named].flatMap(([name, known]) => {
    const stored = schedules.get(name);
    if (stored === undefined) return prices.filter((price) => price.name === name);
    return stored.map(({ from, nanoUsdPerGpuHour, source }) => ({
      name,
      gpu: known.gpu,
      nanoUsdPerGpuHour: BigInt(nanoUsdPerGpuHour),
      usdPerGpuHour: formatUsdShortest(BigInt(nanoUsdPerGpuHour)),
      fromMs: from * 1000,
      from: new Date(from * 1000).toISOString(),
      source,
    }));
  });
}
