// What a report may be grouped by, and which value of a dimension a cell has. Sums live in report-rows.ts.
import type { RollupCell } from '#domain/books.ts';
import { dayOf } from './time-zone.ts';
import type { TimeZone } from './time-zone.ts';
import { ReportParameterError } from './report-error.ts';

const CELL_DIMENSIONS = ['team', 'project', 'model', 'deployment', 'key', 'costCenter', 'day'] as const;

export type CellDimension = (typeof CELL_DIMENSIONS)[number];

/** `user` and `tag:NAME` are known to records only; all others to rollup cells. */
export type Dimension = CellDimension | 'user' | `tag:${string}`;

/** Absent values are null. */
export type DimensionValues = Readonly<Record<string, string | null>>;

/** Most dimensions of one report: more would only repeat them. */
const DIMENSIONS_MAX = 8;

/**
 * `"team,model"` → `['team', 'model']`. Throws a ReportParameterError on an unknown, repeated or missing name.
 * A tag's name must look as contract §4 allows: `[a-z0-9_.-]{1,32}`.
 */
export function parseGroupBy(text: string): readonly Dimension[] {
  const names = text.split(',').map((name) => name.trim());
  const known = names.every((name) => isDimension(name));
  if (!known || new Set(names).size !== names.length || names.length > DIMENSIONS_MAX) {
    throw new ReportParameterError(
      'groupBy',
      `must list each of team, project, model, deployment, key, costCenter, day, user, tag:NAME at most once, separated by commas; got "${text}"`,
    );
  }
  return names;
}

/** Whether a grouping needs the settled records: rollups know neither users nor tags. */
export function needsRecords(groupBy: readonly Dimension[]): boolean {
  return groupBy.some((name) => name === 'user' || name.startsWith('tag:'));
}

export interface DimensionContext {
  readonly timezone: TimeZone;
  /** By team name; teams without one, or no longer configured, are absent. */
  readonly costCenters: ReadonlyMap<string, string>;
}

/** The dimension fields of a cell: its own, and what a record added to them. */
export type Dimensioned = Pick<RollupCell, 'team' | 'project' | 'keyId' | 'model' | 'deployment'> & {
  /** Epoch second of the hour or day; null where a figure belongs to no moment (idle given to a team without use). */
  readonly start: number | null;
  readonly user?: string | null;
  readonly tags?: Readonly<Record<string, string>>;
};

/** The value of one dimension, null where the cell has none. */
export function readDimension(name: Dimension, cell: Dimensioned, context: DimensionContext): string | null {
  switch (name) {
    case 'team':
    case 'project':
    case 'model':
    case 'deployment':
      return cell[name] === '' ? null : cell[name];
    case 'key':
      return cell.keyId === '' ? null : cell.keyId;
    case 'costCenter':
      return context.costCenters.get(cell.team) ?? null;
    case 'day':
      return cell.start === null ? null : dayOf(cell.start, context.timezone);
    case 'user':
      return cell.user ?? null;
    default:
      return readTag(cell.tags, name.slice('tag:'.length));
  }
}

/** A tag may have any name, that of something every object inherits too. */
function readTag(tags: Readonly<Record<string, string>> | undefined, tag: string): string | null {
  return tags !== undefined && Object.hasOwn(tags, tag) ? (tags[tag] ?? null) : null;
}

/** The values of a row in the order asked; `costCenter` follows `team` where only the team was asked for. */
export function readDimensions(
  source: Dimensioned,
  groupBy: readonly Dimension[],
  context: DimensionContext,
): DimensionValues {
  const dimensions: Record<string, string | null> = {};
  for (const name of groupBy) {
    dimensions[name] = readDimension(name, source, context);
    if (name === 'team' && !groupBy.includes('costCenter')) {
      dimensions['costCenter'] = readDimension('costCenter', source, context);
    }
  }
  return dimensions;
}

function isDimension(name: string): name is Dimension {
  return CELL_DIMENSIONS.some((known) => known === name) || name === 'user' || /^tag:[a-z0-9_.-]{1,32}$/.test(name);
}
