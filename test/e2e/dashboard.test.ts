// The shipped dashboard against the real thing: gateway, traffic, Prometheus. Every panel's every query must return data.
// Its structure is checked in test/unit/ops/dashboard.test.ts.
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fillVariables, readDashboard } from '#test/support/dashboard.ts';
import { startDcgmExporter, type TestExporter } from '#test/support/dcgm-exporter.ts';
import { startTestStack, type TestStack } from '#test/support/gateway.ts';
import { ensureDebianProgram } from '#test/support/install-debian.ts';
import { startPrometheus, type PrometheusServer } from '#test/support/prometheus-server.ts';
import { METRIC_NAMES } from '#test/unit/ops/metric-names.ts';

const RANGES = { rateInterval: '10s', range: '2m' };
const TRAFFIC_ROUNDS_MAX = 60;
const panels = readDashboard().panels.filter((panel) => panel.type !== 'row');

let stack: TestStack;
let prometheus: PrometheusServer;
let exporter: TestExporter;

beforeAll(async () => {
  exporter = await startDcgmExporter();
  stack = await startTestStack({
    engines: [
      { name: 'llama', deployment: { engineStatistics: true }, dcgm: exporter.url },
      { name: 'nemo', flavor: 'vllm', model: 'mistral-nemo-12b' },
    ],
    teams: ['search', 'support'],
  });
  prometheus = await startPrometheus({ targets: [new URL(stack.adminUrl).host], scrapeIntervalMs: 1000 });
  await prometheus.waitFor('up{job="inferometer"} == 1', 15_000);
  const emptyBefore = await findEmptyQueries();
  // The harness must be able to see that something is missing.
  expect(emptyBefore.length).toBeGreaterThan(0);
  // Rates need samples before and after; money needs settled windows. Both come with traffic that goes on.
  for (let round = 0; round < TRAFFIC_ROUNDS_MAX; round += 1) {
    await sendRound();
    if ((await findEmptyQueries()).length === 0) break;
  }
}, 180_000);

afterAll(async () => {
  await prometheus?.close();
  await stack?.close();
  await exporter?.close();
});

interface ChatRequest {
  readonly key: string;
  readonly model: string;
  readonly stream: boolean;
  readonly maxTokens: number;
  readonly leaveAfterFirstChunk?: boolean;
}

/** Sends one chat request and reads its answer to the end, or leaves after the first chunk. Returns the status. */
async function sendChat({ key, model, stream, maxTokens, leaveAfterFirstChunk = false }: ChatRequest): Promise<number> {
  const leaving = new AbortController();
  const res = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      stream,
      max_tokens: maxTokens,
      messages: [{ role: 'user', content: 'word '.repeat(200) }],
    }),
    signal: leaving.signal,
  });
  for await (const _chunk of res.body ?? []) {
    if (leaveAfterFirstChunk) break;
  }
  leaving.abort();
  return res.status;
}

/** Streams, plain answers, a client that leaves, and a model that does not exist: every kind the panels show. */
async function sendRound(): Promise<void> {
  const { search = '', support = '' } = stack.keys;
  const statuses = await Promise.all([
    sendChat({ key: search, model: 'llama-3.1-8b', stream: true, maxTokens: 40 }),
    sendChat({ key: support, model: 'mistral-nemo-12b', stream: true, maxTokens: 60 }),
    sendChat({ key: support, model: 'llama-3.1-8b', stream: false, maxTokens: 20 }),
    sendChat({ key: search, model: 'mistral-nemo-12b', stream: false, maxTokens: 20 }),
    sendChat({ key: search, model: 'llama-3.1-8b', stream: true, maxTokens: 400, leaveAfterFirstChunk: true }),
    sendChat({ key: search, model: 'no-such-model', stream: false, maxTokens: 1 }),
  ]);
  expect(statuses).toEqual([200, 200, 200, 200, 200, 404]);
}

/** Latest points of a target: instant ones now, the others as the last steps of a graph. Numbers only, no NaN. */
async function readTarget(target: { expr: string; instant: boolean }): Promise<number[]> {
  const expression = fillVariables(target.expr, RANGES);
  const series = target.instant
    ? await prometheus.query(expression)
    : await prometheus.queryRange(expression, { lookbackSeconds: 60, stepSeconds: 1 });
  return series.flatMap(({ points }) => points.map(([, value]) => value)).filter((value) => Number.isFinite(value));
}

async function findEmptyQueries(): Promise<string[]> {
  const empty: string[] = [];
  for (const panel of panels) {
    for (const target of panel.targets) {
      if ((await readTarget(target)).length === 0) empty.push(`${panel.title} ${target.refId}`);
    }
  }
  return empty;
}

describe('with real traffic behind it', () => {
  test.each(panels.map((panel) => [panel.title, panel] as const))(
    'the panel "%s" returns data',
    async (_title, panel) => {
      for (const target of panel.targets) {
        const values = await readTarget(target);
        expect(values.length, `${target.refId}: ${fillVariables(target.expr, RANGES)}`).toBeGreaterThan(0);
        expect(
          values.every((value) => value >= -1e-9),
          target.refId,
        ).toBe(true);
      }
    },
  );

  test('money, tokens, rejections and waste become more than zero', async () => {
    const counters = [
      'cost_usd',
      'idle_cost_usd',
      'tokens',
      'requests',
      'gpu_seconds',
      'rejections',
      'wasted_cost_usd',
    ];
    for (const name of counters) await prometheus.waitFor(`sum(inferometer_${name}_total) > 0`, 30_000);
  });

  test('no label holds more than the configuration and the keys name', async () => {
    const [series] = await prometheus.query('count({__name__=~"inferometer_.+"})');
    expect(series?.points[0]?.[1]).toBeLessThan(2000);
    const models = await prometheus.query('count by (model) ({__name__=~"inferometer_.+", model!=""})');
    expect(models.map(({ labels }) => labels['model']).filter((model) => model === 'no-such-model')).toEqual([]);
  });

  test('the metrics page exports no name outside the contract, and promtool minds only the unit that the contract fixes', async () => {
    const promtool = ensureDebianProgram({ command: 'promtool', debianPackage: 'prometheus' });
    const page = await (await fetch(`${stack.adminUrl}/metrics`)).text();
    const { stdout, stderr } = spawnSync(promtool, ['check', 'metrics'], { input: page, encoding: 'utf8' });
    expect((stdout + stderr).trim().split('\n')).toEqual([
      'inferometer_engine_profile_milliseconds use base unit "seconds" instead of "milliseconds"',
    ]);
    const names = [...page.matchAll(/^(inferometer_\w+)/gm)].map(([name]) => name);
    expect(names.length).toBeGreaterThan(50);
    expect([...new Set(names)].filter((name) => !METRIC_NAMES.has(name))).toEqual([]);
  });
});
