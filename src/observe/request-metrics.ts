// Metrics of finished requests: counts, tokens, latencies. Money comes with settlement (settlement-metrics.ts).
import type { UsageRecord } from '#domain/usage-record.ts';
import { Counter, Histogram } from './prometheus.ts';
import type { Registry } from 'prom-client';
import { NONE } from './metric-labels.ts';
import type { MetricLabels } from './metric-labels.ts';
import { RecordTally, TOKEN_TYPES } from './record-tally.ts';

const TOKEN_SOURCES = ['reported', 'counted', 'estimated'] as const;

/** Seconds. Reasons: metrics-focus-grafana.md §3. */
const BUCKETS = {
  duration: [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600],
  timeToFirstToken: [0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 40, 80],
  timePerOutputToken: [
    0.002, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5,
  ],
  overhead: [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 1],
};

/** Refusals a team can meet without anybody's fault in the code: shown at 0 from the start. */
const TEAM_REJECTIONS = ['model_not_found', 'model_not_allowed', 'no_healthy_upstream', 'invalid_json'] as const;
const NAMELESS_REJECTIONS = ['invalid_api_key', 'unknown_team'] as const;

/** The metrics; `beforeRead` is called before counters of records are read, so that they can be brought up to date. */
function createRequestMetrics(registry: Registry, beforeRead: () => void) {
  const registers = [registry];
  const collect = beforeRead;
  const perModel = ['model', 'deployment'] as const;
  const requests = new Counter({
    name: 'inferometer_requests_total',
    help: 'Requests that passed authentication, a retried request once. Status is the code sent to the client, 499 if it left before headers. Left out: 401s (see inferometer_rejections_total).',
    labelNames: ['team', ...perModel, 'route', 'status'] as const,
    collect,
    registers,
  });
  const tokens = new Counter({
    name: 'inferometer_tokens_total',
    help: 'Tokens in disjoint types: input is without cached_input, output without reasoning. Left out: requests whose tokens are unknown.',
    labelNames: ['team', ...perModel, 'type'] as const,
    collect,
    registers,
  });
  const tokensBySource = new Counter({
    name: 'inferometer_tokens_by_source_total',
    help: 'Tokens of all types by where the count came from: reported by the engine, counted from the stream, or estimated from bytes. Left out: unknown counts.',
    labelNames: [...perModel, 'source'] as const,
    collect,
    registers,
  });
  const rejections = new Counter({
    name: 'inferometer_rejections_total',
    help: 'Requests the gateway itself refused, by error code, 401s included (team none). Left out: errors of engines.',
    labelNames: ['team', 'reason'] as const,
    registers,
  });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `inferometer_${name}_seconds`, help, labelNames: perModel, buckets, registers });
  return {
    requests,
    tokens,
    tokensBySource,
    rejections,
    duration: histogram(
      'request_duration',
      'From request received to the last byte handed to the client, however it ended. Left out: requests that never reached an engine.',
      BUCKETS.duration,
    ),
    timeToFirstToken: histogram(
      'time_to_first_token',
      'From request received to the first event with content (not the role chunk). Left out: answers without content events, such as those that do not stream.',
      BUCKETS.timeToFirstToken,
    ),
    timePerOutputToken: histogram(
      'time_per_output_token',
      '(duration - time to first token) / (output tokens - 1) of completed streams, reasoning included. Left out: streams with fewer than two tokens.',
      BUCKETS.timePerOutputToken,
    ),
    overhead: histogram(
      'gateway_overhead',
      'Time a request spent in the gateway before it was sent to the engine. Left out: relaying the answer.',
      BUCKETS.overhead,
    ),
  };
}

export type RequestMetrics = ReturnType<typeof createRequestMetrics>;

/**
 * Shows the known series at 0, so that rates have a beginning. `begun` holds the targets whose histograms were begun, and gets the new ones: unlike
 * adding 0 to a counter, beginning a histogram again takes away what it has seen.
 */
function prepareRequestMetrics(metrics: RequestMetrics, labels: MetricLabels, begun: Set<string>): void {
  for (const reason of NAMELESS_REJECTIONS) metrics.rejections.inc({ team: NONE, reason }, 0);
  for (const team of labels.teams) {
    for (const reason of TEAM_REJECTIONS) metrics.rejections.inc({ team, reason }, 0);
  }
  for (const { name: deployment, models } of labels.deployments) {
    const model = labels.model(models[0] ?? null);
    for (const source of TOKEN_SOURCES) metrics.tokensBySource.inc({ model, deployment, source }, 0);
    const target = JSON.stringify([model, deployment]);
    if (!begun.has(target)) {
      begun.add(target);
      metrics.duration.zero({ model, deployment });
      metrics.timeToFirstToken.zero({ model, deployment });
      metrics.timePerOutputToken.zero({ model, deployment });
      metrics.overhead.zero({ model, deployment });
    }
    for (const team of labels.teams) {
      metrics.requests.inc({ team, model, deployment, route: '/v1/chat/completions', status: '200' }, 0);
      for (const [type] of TOKEN_TYPES) metrics.tokens.inc({ team, model, deployment, type }, 0);
    }
  }
}

/** The metrics of finished requests with the tally in front of their counters. */
export class RequestCounting {
  readonly metrics: RequestMetrics;
  readonly #begun = new Set<string>();
  #tally: RecordTally;

  constructor(registry: Registry, labels: MetricLabels) {
    this.#tally = new RecordTally(labels);
    this.metrics = createRequestMetrics(registry, () => takeTally(this.metrics, this.#tally));
    prepareRequestMetrics(this.metrics, labels, this.#begun);
  }

  /** Counts one finished attempt; counters show it when they are read. */
  count(record: UsageRecord): void {
    const { target } = this.#tally.add(record);
    if (record.pool !== null) observeLatencies(this.metrics, target, record);
  }

  /** Goes on with the words of another config. */
  reload(labels: MetricLabels): void {
    takeTally(this.metrics, this.#tally);
    this.#tally = new RecordTally(labels);
    prepareRequestMetrics(this.metrics, labels, this.#begun);
  }
}

/** Moves the sums of a tally into the counters. */
function takeTally(metrics: RequestMetrics, tally: RecordTally): void {
  for (const { team, target, requests, tokens, tokensBySource } of tally.rows()) {
    for (const [route, statuses] of requests) {
      for (const [status, count] of statuses)
        metrics.requests.inc({ team, ...target, route, status: String(status) }, count);
    }
    for (const [type, count] of tokens) metrics.tokens.inc({ team, ...target, type }, count);
    for (const [source, count] of tokensBySource) metrics.tokensBySource.inc({ ...target, source }, count);
    requests.clear();
    tokens.clear();
    tokensBySource.clear();
  }
}

function observeLatencies(
  metrics: RequestMetrics,
  target: { readonly model: string; readonly deployment: string },
  record: UsageRecord,
): void {
  observe(metrics.duration, target, record.durationMs / 1000);
  if (record.timeToFirstTokenMs === null) return;
  observe(metrics.timeToFirstToken, target, record.timeToFirstTokenMs / 1000);
  const output = (record.tokens.output ?? 0) + (record.tokens.reasoning ?? 0);
  if (!record.stream || record.outcome !== 'completed' || output < 2) return;
  observe(metrics.timePerOutputToken, target, (record.durationMs - record.timeToFirstTokenMs) / 1000 / (output - 1));
}

/** Observes seconds that are a number and not negative; anything else is a fault of the sender and left out. */
export function observe<T extends string>(histogram: Histogram<T>, labels: Record<T, string>, seconds: number): void {
  if (Number.isFinite(seconds) && seconds >= 0) histogram.observe(labels, seconds);
}
