// Which windows of a pool are paid for, answered their health checks, and were watched by a gateway at all: runs for the frontier.
// Not here: what those windows cost (frontier.ts), what a schedule means in UTC (provisioning-schedule.ts).
import type { PoolFacts } from '#domain/pool-facts.ts';
import type { HealthChange, Member } from '#domain/settlement.ts';
import { findScheduledSpans, type Span } from './provisioning-schedule.ts';

/** Neighbouring windows, `from` … `to` inclusive, with the same three answers. Windows with publications are the caller's to override. */
export interface ProvisioningRun {
  readonly from: number;
  readonly to: number;
  readonly provisioned: boolean;
  readonly available: boolean;
  readonly observed: boolean;
}

/** One version of a pool's facts over the windows `from` … `to` (inclusive), and what the gateways said about them. */
export interface ProvisioningQuery {
  readonly facts: PoolFacts;
  readonly from: number;
  readonly to: number;
  readonly health: readonly (HealthChange & { readonly journal: string })[];
  readonly members: readonly Pick<Member, 'journal' | 'blind'>[];
}

/**
 * Runs that cover `from` … `to` without gap or overlap, ascending, neighbours different.
 * - observed: some member was running (no blind range of its own holds the window).
 * - available: some watching member's last opinion is healthy. Where no watching member has an opinion, the last opinion anybody gave is
 *   kept; where nobody ever gave one, the pool counts as healthy.
 * - provisioned: by the facts; never while the pool is not active.
 * Cost grows with schedule days, health changes and blind ranges, not with windows.
 */
export function findProvisioningRuns(query: ProvisioningQuery): readonly ProvisioningRun[] {
  const { facts, from, to } = query;
  const spans = facts.provisioned.kind === 'schedule' ? findScheduledSpans(facts.provisioned.rules, { from, to }) : [];
  const blind = query.members.map((member) => mergeSpans(member.blind));
  const opinions = createOpinions(query);
  const scheduled = createSpanCursor(spans);
  const blindCursors = blind.map(createSpanCursor);
  const runs: ProvisioningRun[] = [];
  const starts = findStarts(query, [...blind.flat(), ...spans]);
  for (const [index, start] of starts.entries()) {
    const watching = query.members.filter((_, member) => !(blindCursors[member]?.(start) ?? false));
    const available = opinions(start, watching);
    const provisioned =
      facts.active &&
      (facts.provisioned.kind === 'always' || (facts.provisioned.kind === 'health' ? available : scheduled(start)));
    const end = (starts[index + 1] ?? to + 1) - 1;
    appendRun(runs, { from: start, to: end, provisioned, available, observed: watching.length > 0 });
  }
  return runs;
}

function appendRun(runs: ProvisioningRun[], run: ProvisioningRun): void {
  const last = runs.at(-1);
  const same =
    last !== undefined &&
    last.provisioned === run.provisioned &&
    last.available === run.available &&
    last.observed === run.observed;
  if (same) runs[runs.length - 1] = { ...last, to: run.to };
  else runs.push(run);
}

/** Ascending windows at which anything may change, beginning with `from`. */
function findStarts({ facts, from, to, health }: ProvisioningQuery, spans: readonly Span[]): readonly number[] {
  const starts = new Set([from]);
  const add = (window: number): void => {
    if (window > from && window <= to) starts.add(window);
  };
  for (const [first, last] of spans) {
    add(first);
    add(last + 1);
  }
  for (const change of health) if (change.pool === facts.pool) add(change.window);
  return [...starts].toSorted((a, b) => a - b);
}

/** Answers, for ascending windows, whether the pool counts as healthy. */
function createOpinions({ facts, health }: ProvisioningQuery) {
  const changes = health
    .filter((change) => change.pool === facts.pool)
    .toSorted((a, b) => a.window - b.window || (a.journal < b.journal ? -1 : 1));
  const byJournal = new Map<string, boolean>();
  let latest = true;
  let next = 0;
  return (window: number, watching: readonly Pick<Member, 'journal'>[]): boolean => {
    for (let change = changes[next]; change !== undefined && change.window <= window; change = changes[next]) {
      byJournal.set(change.journal, change.healthy);
      latest = change.healthy;
      next += 1;
    }
    const current = watching.map((member) => byJournal.get(member.journal)).filter((opinion) => opinion !== undefined);
    return current.length === 0 ? latest : current.some(Boolean);
  };
}

/** Answers, for ascending windows, whether one of the ascending disjoint spans holds the window. */
function createSpanCursor(spans: readonly Span[]): (window: number) => boolean {
  let next = 0;
  return (window) => {
    while ((spans[next]?.[1] ?? Number.POSITIVE_INFINITY) < window) next += 1;
    return (spans[next]?.[0] ?? Number.POSITIVE_INFINITY) <= window;
  };
}

/** Ascending, disjoint, not touching; empty spans dropped. */
function mergeSpans(spans: readonly Span[]): readonly Span[] {
  const merged: [number, number][] = [];
  for (const [first, last] of spans.filter(([first, last]) => first <= last).toSorted((a, b) => a[0] - b[0])) {
    const previous = merged.at(-1);
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else merged.push([first, last]);
  }
  return merged;
}
