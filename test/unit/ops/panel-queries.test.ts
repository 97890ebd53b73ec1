// The harness of test/e2e/dashboard.test.ts, proved without a gateway: a real Prometheus scrapes a page that speaks the
// contract's names, and every panel's query must find its data there. It also proves that the harness sees a missing metric.
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fillVariables, readDashboard } from '#test/support/dashboard.ts';
import { startPrometheus, type PrometheusServer } from '#test/support/prometheus-server.ts';
import { METRIC_NAMES } from '#test/unit/ops/metric-names.ts';

const SCRAPE_INTERVAL_MS = 200;
const RANGES = { rateInterval: '2s', range: '10s' };
const HIDDEN = 'inferometer_store_up';

/** Labels of contract §7 by metric, with one value or several; what is not named here has none. */
const LABELS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/_requests_total$/, ['team="search",model="m",deployment="d",route="/v1/chat/completions",status="200"']],
  [
    /_tokens_total$/,
    ['input', 'cached_input', 'output', 'reasoning'].map(
      (type) => `team="search",model="m",deployment="d",type="${type}"`,
    ),
  ],
  [/_tokens_by_source_total$/, ['model="m",deployment="d",source="reported"']],
  [/_gpu_seconds_total$/, ['team="search",model="m",deployment="d",gpu="H100"']],
  [/_phase_cost_usd_total$/, ['model="m",deployment="d",phase="prefill"', 'model="m",deployment="d",phase="decode"']],
  [/_wasted_cost_usd_total$/, ['team="search",model="m",deployment="d",outcome="client_aborted"']],
  [/_(capacity|idle|unmetered)_cost_usd_total$/, ['deployment="d",gpu="H100"']],
  [/_cost_usd_total$/, ['team="search",model="m",deployment="d"', 'team="support",model="m",deployment="d"']],
  [/_month_to_date_cost_usd$/, ['team="search"', 'team="support"']],
  [/_month_to_date_/, ['deployment="d"']],
  [/_seconds_bucket$/, ['model="m",deployment="d",le="0.1"', 'model="m",deployment="d",le="+Inf"']],
  [/_seconds_(sum|count)$/, ['model="m",deployment="d"']],
  [/_(requests_in_flight|upstream_up)$/, ['deployment="d",upstream="u"']],
  [/_deployment_info$/, ['deployment="d",model="m",engine="vllm",gpu="H100"']],
  [/_(price_usd_per_gpu_hour|provisioned_gpus|attribution_residual_gpu_seconds)$/, ['deployment="d"']],
  [/_retries_total$/, ['deployment="d",result="answered"']],
  [/_upstream_ejections_total$/, ['deployment="d",upstream="u"']],
  [/_busy_windows_total$/, ['deployment="d",gpu="H100",source="engine"']],
  [/_energy_joules_total$/, ['deployment="d",gpu="H100"']],
  [/_statistics_(failures_total|poller)$/, ['deployment="d",upstream="u",source="dcgm"']],
  [/_queue_length$/, ['deployment="d"']],
  [/_rejections_total$/, ['team="search",reason="model_not_found"']],
  [/_engine_profile_milliseconds$/, ['deployment="d",term="iterationMs",source="declared"']],
];

let server: Server;
let prometheus: PrometheusServer;
let scrapes = 0;

beforeAll(async () => {
  server = createServer((_req, res) => {
    scrapes += 1;
    res.setHeader('content-type', 'text/plain; version=0.0.4').end(renderPage());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  prometheus = await startPrometheus({ targets: [`127.0.0.1:${port}`], scrapeIntervalMs: SCRAPE_INTERVAL_MS });
  await prometheus.waitFor('increase(inferometer_requests_total[2s]) > 0', 15_000);
}, 60_000);

afterAll(async () => {
  await prometheus?.close();
  server?.close();
});

/** Counters grow with every scrape, gauges are 1. */
function renderPage(): string {
  const lines = [...METRIC_NAMES].flatMap((name) => {
    if (name === HIDDEN) return [];
    const labels = LABELS.find(([pattern]) => pattern.test(name))?.[1] ?? [''];
    const value = /_(total|bucket|sum|count)$/.test(name) ? scrapes : 1;
    return labels.map((text) => `${name}{${text}} ${value}`);
  });
  return `${lines.join('\n')}\n`;
}

const targets = readDashboard()
  .panels.filter((panel) => panel.type !== 'row')
  .flatMap((panel) =>
    panel.targets.map((target) => [`${panel.title} ${target.refId}`, fillVariables(target.expr, RANGES)] as const),
  );

test.each(targets.filter(([, expression]) => !expression.includes(HIDDEN)))(
  '%s finds data',
  async (_name, expression) => {
    const series = await prometheus.query(expression);
    const values = series.flatMap(({ points }) => points.map(([, value]) => value));
    expect(values.filter((value) => Number.isFinite(value)).length, expression).toBeGreaterThan(0);
  },
);

test('a metric that is not exported leaves its panel empty', async () => {
  const [hidden] = targets.filter(([, expression]) => expression.includes(HIDDEN));
  expect(hidden).toBeDefined();
  expect(await prometheus.query(hidden?.[1] ?? '')).toEqual([]);
});

test('a query that Prometheus refuses fails with its reason', async () => {
  await expect(prometheus.query('sum(')).rejects.toThrow(/Prometheus refused "sum\(": .*parse error/);
});
