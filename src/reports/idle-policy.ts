// How the idle of each pool reaches the teams: not at all, by their cost there, or evenly. Contract §6, attribution-and-finops §4.5.
import type { BookCell, RollupCell } from '#domain/books.ts';
import type { DeploymentConfig, TeamConfig } from '#config/config.ts';
import type { Dimensioned } from './dimensions.ts';
import { splitByLargestRemainder } from './largest-remainder.ts';
import { mayUseAny } from './model-globs.ts';
import { ReportParameterError } from './report-error.ts';
import type { IdlePolicy } from './report-shape.ts';

export interface IdleShare {
  /** To whose row it goes; `start` is null where the team had no use there. */
  readonly target: Dimensioned;
  /** Above 0. */
  readonly nanoUsd: bigint;
}

export interface IdleRequest {
  readonly policy: IdlePolicy;
  readonly cells: readonly RollupCell[];
  readonly books: readonly BookCell[];
  readonly teams: readonly Pick<TeamConfig, 'name' | 'models'>[];
  readonly deployments: readonly Pick<DeploymentConfig, 'name' | 'models' | 'prefillBy'>[];
}

/** `separate`, `proportional` or `even`; throws a ReportParameterError for anything else, `reserved` with its own words. */
export function parseIdlePolicy(text: string): IdlePolicy {
  if (text === 'separate' || text === 'proportional' || text === 'even') return text;
  if (text === 'reserved') {
    throw new ReportParameterError('idle', 'reserved comes with a later version; use separate, proportional or even');
  }
  throw new ReportParameterError('idle', `must be separate, proportional or even; got "${text}"`);
}

/**
 * Shares of booked idle; what they leave of Σ idle is unshared. Cells name a deployment, books a pool, so deployments that ever shared
 * a pool in the period are shared out together; others by themselves.
 */
export function shareIdle(request: IdleRequest): readonly IdleShare[] {
  if (request.policy === 'separate') return [];
  const groups = groupByPool(request.books);
  const shares: IdleShare[] = [];
  for (const group of groups) {
    const cells = request.cells.filter((cell) => group.deployments.has(cell.deployment));
    if (request.policy === 'proportional') shares.push(...shareByCost(group.idleNanoUsd, cells));
    else shares.push(...shareEvenly(group, cells, request));
  }
  return shares;
}

interface PoolGroup {
  readonly deployments: ReadonlySet<string>;
  readonly idleNanoUsd: bigint;
}

function groupByPool(books: readonly BookCell[]): readonly PoolGroup[] {
  // Summed by name first: a month has hundreds of books per pool, but few sets of deployments.
  const idleByNames = new Map<string, bigint>();
  for (const { deployments, metrics } of books) {
    idleByNames.set(deployments, (idleByNames.get(deployments) ?? 0n) + metrics.idleNanoUsd);
  }
  let groups: { deployments: Set<string>; idleNanoUsd: bigint }[] = [];
  for (const [names, idleNanoUsd] of idleByNames) {
    const deployments = names.split('+');
    const touched = groups.filter((group) => deployments.some((name) => group.deployments.has(name)));
    const merged = {
      deployments: new Set([...deployments, ...touched.flatMap((group) => [...group.deployments])]),
      idleNanoUsd: touched.reduce((sum, group) => sum + group.idleNanoUsd, idleNanoUsd),
    };
    groups = [...groups.filter((group) => !touched.includes(group)), merged];
  }
  return groups;
}

function shareByCost(idleNanoUsd: bigint, cells: readonly RollupCell[]): IdleShare[] {
  // A correction may leave a cell below zero; it then takes no idle.
  const users = sortCells(cells.filter((cell) => cell.metrics.costNanoUsd > 0n));
  const parts = splitByLargestRemainder(
    idleNanoUsd,
    users.map((cell) => cell.metrics.costNanoUsd),
  );
  return users.map((target, index) => ({ target, nanoUsd: parts[index] ?? 0n })).filter(({ nanoUsd }) => nanoUsd > 0n);
}

function shareEvenly(group: PoolGroup, cells: readonly RollupCell[], request: IdleRequest): IdleShare[] {
  const deployments = request.deployments.filter(({ name }) => group.deployments.has(name));
  const first = deployments[0];
  // Who may use a deployment uses the one that computes its prompts with it.
  const used = request.deployments.filter(({ prefillBy }) => group.deployments.has(prefillBy?.deployment ?? ''));
  const names = [...deployments, ...used].flatMap(({ name, models }) => [name, ...models]);
  const teams = request.teams.filter((team) => mayUseAny(team.models, names)).map(({ name }) => name);
  const parts = splitByLargestRemainder(
    group.idleNanoUsd,
    teams.map(() => 1n),
  );
  return teams.flatMap((team, index) => {
    const part = parts[index] ?? 0n;
    const byCost = shareByCost(
      part,
      cells.filter((cell) => cell.team === team),
    );
    if (byCost.length > 0 || part === 0n) return byCost;
    const target = {
      team,
      project: '',
      keyId: '',
      model: first?.models[0] ?? '',
      deployment: first?.name ?? '',
      start: null,
    };
    return [{ target, nanoUsd: part }];
  });
}

const SORT_FIELDS = ['team', 'project', 'keyId', 'model', 'deployment', 'start'] as const;

/** Ties of the largest remainder must not depend on the order in which a store answers. */
function sortCells(cells: readonly RollupCell[]): RollupCell[] {
  return cells.toSorted((a, b) => {
    const field = SORT_FIELDS.find((name) => a[name] !== b[name]);
    if (field === undefined) return 0;
    return a[field] < b[field] ? -1 : 1;
  });
}
