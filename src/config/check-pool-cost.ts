// What a pool costs in an hour stays within what the books can count. Prices and GPUs by themselves are the schema's.
import { NANO_PER_USD } from '#domain/nano-usd.ts';
import type { DeploymentConfig, PriceConfig } from './config.ts';
import { priceSchedule } from './price-book.ts';
import type { ProblemList } from './problem.ts';
import type { Entry } from './schema.ts';

/** A month of it stays below 2^63 nanodollars, in which both stores sum; beyond that no freeze could be written any more, of no pool. */
const USD_PER_HOUR_MAX = 10_000_000n;

/** Refuses upstreams whose pool would cost more, now or at any step of its price. */
export function checkPoolCost(
  entries: readonly Entry<DeploymentConfig>[],
  prices: readonly PriceConfig[],
  findings: ProblemList,
): void {
  for (const { index, value } of entries) {
    const dearest = priceSchedule(prices, value.priceName).reduce(
      (most, { nanoUsdPerGpuHour }) => (nanoUsdPerGpuHour > most ? nanoUsdPerGpuHour : most),
      0n,
    );
    for (const [position, { replicas }] of value.upstreams.entries()) {
      const millionths = BigInt(value.gpuMillionths) * BigInt(replicas);
      if (dearest * millionths <= USD_PER_HOUR_MAX * NANO_PER_USD * 1_000_000n) continue;
      findings.add(
        ['deployments', index, 'upstreams', position],
        `its GPUs at price ${value.priceName} are beyond what the books count: expected at most ${USD_PER_HOUR_MAX} dollars an hour for one pool`,
      );
    }
  }
}
