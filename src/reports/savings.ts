// What the measured price saves against each deployment's baseline. Contract §6 `savings`.
import type { BookCell, RollupCell } from '#domain/books.ts';
import type { BaselineConfig, DeploymentConfig } from '#config/config.ts';
import type { IdleShare } from './idle-policy.ts';
import { shareIdle } from './idle-policy.ts';
import { divideHalfUp } from './largest-remainder.ts';
import { addSums, createSums, sumTokens } from './metric-sums.ts';
import { perMillion } from './report-rows.ts';
import type { ReportSaving } from './report-shape.ts';

export interface SavingsRequest {
  readonly cells: readonly RollupCell[];
  readonly books: readonly BookCell[];
  readonly deployments: readonly Pick<DeploymentConfig, 'name' | 'models' | 'baseline' | 'prefillBy' | 'prefillsFor'>[];
}

/**
 * One line per model and baseline, over all deployments that carry it, those that compute their prompts included. The measured price holds the idle of the model's pools whatever
 * the report's policy: an engine that mostly waits is not cheap. Sorted by model, then baseline.
 */
export function computeSavings({ cells, books, deployments }: SavingsRequest): readonly ReportSaving[] {
  const carrying = deployments.flatMap(({ name, models, baseline, prefillBy, prefillsFor }) =>
    baseline === undefined || prefillsFor !== undefined
      ? []
      : [{ name, model: models[0] ?? name, baseline, prefillBy }],
  );
  if (carrying.length === 0) return [];
  const idle = shareIdle({ policy: 'proportional', cells, books, teams: [], deployments: [] });
  const groups = Map.groupBy(carrying, ({ model, baseline }) =>
    JSON.stringify([model, baseline.name, baseline.usdPerMillionTokens]),
  );
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, group]) => {
      const first = group[0];
      const names = new Set(
        group.flatMap(({ name, prefillBy }) => (prefillBy === undefined ? [name] : [name, prefillBy.deployment])),
      );
      return first === undefined ? [] : [computeSaving({ ...first, names, cells, idle })];
    });
}

interface SavingRequest {
  readonly model: string;
  readonly baseline: BaselineConfig;
  readonly names: ReadonlySet<string>;
  readonly cells: readonly RollupCell[];
  readonly idle: readonly IdleShare[];
}

function computeSaving({ model, baseline, names, cells, idle }: SavingRequest): ReportSaving {
  const isMeant = (cell: Pick<RollupCell, 'model' | 'deployment'>) =>
    cell.model === model && names.has(cell.deployment);
  const sums = createSums();
  for (const cell of cells) if (isMeant(cell)) addSums(sums, cell.metrics);
  const idleNanoUsd = idle.reduce((sum, { target, nanoUsd }) => (isMeant(target) ? sum + nanoUsd : sum), 0n);
  const tokens = sumTokens(sums);
  const totalNanoUsd = sums.costNanoUsd + idleNanoUsd;
  const elsewhereNanoUsd = divideHalfUp(baseline.nanoUsdPerMillionTokens * tokens, 1_000_000n);
  return {
    model,
    baseline: baseline.name,
    baselineNanoUsd: baseline.nanoUsdPerMillionTokens,
    measuredNanoUsd: perMillion(totalNanoUsd, tokens),
    factorTenths:
      tokens > 0n && totalNanoUsd > 0n
        ? divideHalfUp(baseline.nanoUsdPerMillionTokens * tokens * 10n, totalNanoUsd * 1_000_000n)
        : null,
    avoidedNanoUsd: tokens > 0n ? elsewhereNanoUsd - totalNanoUsd : null,
  };
}
