// The price book: from entries as written to effective-dated prices, and which price a deployment has.
import { formatUsdShortest } from '#domain/nano-usd.ts';
import { parseInstant } from './calendar.ts';
import type { PriceConfig } from './config.ts';
import { priceInForce } from './price-book.ts';
import type { ConfigPath, ProblemList } from './problem.ts';
import type { DeploymentInput, PriceInput } from './schema-deployments.ts';
import type { Entry } from './schema.ts';

/** Entries in the order of the file; an entry with an unusable or repeated `from` is left out and a problem. */
export function resolvePrices(entries: readonly Entry<PriceInput>[], findings: ProblemList): readonly PriceConfig[] {
  const prices: PriceConfig[] = [];
  for (const { index, value } of entries) {
    const fromMs = parseInstant(value.from);
    if (fromMs === undefined) {
      findings.add(
        ['prices', index, 'from'],
        `expected a date such as 2026-01-01 or an RFC 3339 instant with its offset`,
      );
      continue;
    }
    const earlier = prices.filter(({ name }) => name === value.name);
    if (earlier.some((price) => price.fromMs === fromMs)) {
      findings.add(['prices', index, 'from'], `another entry named ${value.name} begins at the same instant`);
      continue;
    }
    if (earlier[0] !== undefined && earlier[0].gpu !== value.gpu) {
      findings.add(['prices', index, 'gpu'], `the other entries named ${value.name} are for ${earlier[0].gpu}`);
      continue;
    }
    prices.push({
      name: value.name,
      gpu: value.gpu,
      nanoUsdPerGpuHour: value.usdPerGpuHour,
      usdPerGpuHour: formatUsdShortest(value.usdPerGpuHour),
      fromMs,
      from: value.from,
      source: value.source,
    });
  }
  return prices;
}

/** What `resolvePriceName` compares the deployment with. `nowMs`: epoch milliseconds. */
export interface PriceContext {
  readonly prices: readonly PriceConfig[];
  readonly nowMs: number;
  readonly findings: ProblemList;
}

/**
 * The name of the one price in force for `deployment`: the one it names, else the only one of its GPU. Anything but
 * exactly one is a problem that lists the candidates, and undefined.
 */
export function resolvePriceName(
  deployment: DeploymentInput,
  path: ConfigPath,
  context: PriceContext,
): string | undefined {
  const { prices, nowMs, findings } = context;
  if (deployment.price !== '') return resolveNamed(deployment, [...path, 'price'], context);
  const names = new Set(prices.filter(({ gpu }) => gpu === deployment.gpu).map(({ name }) => name));
  const inForce = [...names].filter((name) => priceInForce(prices, name, nowMs) !== undefined);
  if (inForce.length === 1) return inForce[0];
  if (inForce.length > 1) {
    const choices = inForce.join(', ');
    findings.add(
      path,
      `${inForce.length} prices are in force for ${deployment.gpu} (${choices}): name one with price:`,
    );
  } else if (!findings.has(['prices'])) {
    findings.add(path, `no price is in force for ${deployment.gpu}: ${describeBook(prices, [...names])}`);
  }
  return undefined;
}

function resolveNamed(deployment: DeploymentInput, path: ConfigPath, context: PriceContext): string | undefined {
  const { prices, nowMs, findings } = context;
  const entries = prices.filter(({ name }) => name === deployment.price);
  const first = entries.toSorted((left, right) => left.fromMs - right.fromMs)[0];
  if (first === undefined) {
    if (!findings.has(['prices'])) {
      findings.add(path, `no price is named ${deployment.price}: ${describeBook(prices, [])}`);
    }
    return undefined;
  }
  if (first.fromMs > nowMs) {
    findings.add(path, `price ${deployment.price} is not in force yet: its first entry begins ${first.from}`);
    return undefined;
  }
  if (first.gpu !== deployment.gpu) {
    findings.warn(path, `price ${deployment.price} is for ${first.gpu}, the deployment runs on ${deployment.gpu}`);
  }
  return deployment.price;
}

function describeBook(prices: readonly PriceConfig[], notYet: readonly string[]): string {
  if (notYet.length > 0) return `${notYet.join(', ')} begin${notYet.length === 1 ? 's' : ''} later`;
  const known = [...new Set(prices.map(({ name, gpu }) => `${name} (${gpu})`))];
  return known.length === 0 ? 'the price book is empty' : `the price book has ${known.join(', ')}`;
}
