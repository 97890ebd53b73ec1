// Sums of finished requests between two scrapes: on the hot path a few additions, where prom-client hashes the labels of each increment.
// Not here: the metrics they end in (request-metrics.ts).
import { totalTokens } from '#domain/tokens.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { MetricLabels } from './metric-labels.ts';

/** Metric label value → bucket of TokenCounts; disjoint, so that their sum means something. */
export const TOKEN_TYPES = [
  ['input', 'input'],
  ['cached_input', 'cachedInput'],
  ['output', 'output'],
  ['reasoning', 'reasoning'],
] as const;

export type TokenType = (typeof TOKEN_TYPES)[number][0];

/** Labels that records of one sort have in common, and their sums since they were taken last. */
export interface TallyRow {
  readonly team: string;
  readonly target: { readonly model: string; readonly deployment: string };
  /** Last attempts by route and status. */
  readonly requests: Map<string, Map<number, number>>;
  readonly tokens: Map<TokenType, number>;
  readonly tokensBySource: Map<string, number>;
}

/** Rows by deployment, model and team as records name them: words of the config, or none. */
type Rows = Map<string | null, Map<string | null, Map<string, TallyRow>>>;

/** Owns the rows of one config. */
export class RecordTally {
  readonly #labels: MetricLabels;
  readonly #rows: Rows = new Map();

  constructor(labels: MetricLabels) {
    this.#labels = labels;
  }

  /** Adds one finished attempt; returns its row. Numbers that are none, or negative, are left out. */
  add(record: UsageRecord): TallyRow {
    const row = this.#find(record);
    if (record.lastAttempt) {
      const { status } = record;
      const route = this.#labels.route(record.route);
      let statuses = row.requests.get(route);
      if (statuses === undefined) row.requests.set(route, (statuses = new Map()));
      increase(statuses, Number.isInteger(status) && status >= 100 && status <= 599 ? status : 0, 1);
    }
    for (const [type, bucket] of TOKEN_TYPES) increase(row.tokens, type, record.tokens[bucket]);
    if (record.tokenSource !== 'unknown') {
      increase(row.tokensBySource, record.tokenSource, totalTokens(record.tokens));
    }
    return row;
  }

  /** The rows, for whoever clears the sums that it takes. */
  *rows(): Generator<TallyRow, void, undefined> {
    for (const models of this.#rows.values()) for (const teams of models.values()) yield* teams.values();
  }

  #find({ deployment, model, team }: UsageRecord): TallyRow {
    let models = this.#rows.get(deployment);
    if (models === undefined) this.#rows.set(deployment, (models = new Map()));
    let teams = models.get(model);
    if (teams === undefined) models.set(model, (teams = new Map()));
    let row = teams.get(team);
    if (row === undefined) teams.set(team, (row = this.#createRow({ deployment, model, team })));
    return row;
  }

  #createRow({ deployment, model, team }: Pick<UsageRecord, 'deployment' | 'model' | 'team'>): TallyRow {
    const target = { model: this.#labels.model(model), deployment: this.#labels.deployment(deployment) };
    return {
      team: this.#labels.team(team),
      target,
      requests: new Map(),
      tokens: new Map(),
      tokensBySource: new Map(),
    };
  }
}

/** A counter that was given NaN is NaN for ever: only positive numbers get in. */
function increase<K>(sums: Map<K, number>, key: K, value: number | null): void {
  if (value !== null && Number.isFinite(value) && value > 0) sums.set(key, (sums.get(key) ?? 0) + value);
}
