// The Grafana dashboard as a file: the rules of grafana/dashboard-linter that apply, and ours. That every panel's query
// returns data is shown by test/e2e/dashboard.test.ts with a real Prometheus and a real gateway.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { METRIC_NAMES, readMetricNames } from '#test/unit/ops/metric-names.ts';
import { readDashboard, type Panel } from '#test/support/dashboard.ts';

const dashboard = readDashboard();
const panels = dashboard.panels.filter((panel) => panel.type !== 'row');
const named = panels.map((panel) => [panel.title, panel] as const);
const UNITS = ['currencyUSD', 'percentunit', 'short', 's', 'ms', 'reqps', 'watt', 'none'];
const VARIABLES = ['$team', '$model', '$deployment', '$__rate_interval', '$__range'];

describe('the dashboard', () => {
  test('can be provisioned as it is: stable uid, no id, not editable, a schema that Grafana knows', () => {
    expect(dashboard.uid).toMatch(/^[a-z-]{1,40}$/);
    expect(dashboard).toMatchObject({ id: null, editable: false, schemaVersion: 42, timezone: 'utc' });
    expect(readFileSync(dashboard.path, 'utf8')).not.toMatch(/__inputs|DS_PROMETHEUS/);
  });

  test('lets the reader choose the data source, teams, models and deployments', () => {
    const [source, ...queries] = dashboard.templating.list;
    expect(source).toMatchObject({ type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus' });
    expect(queries.map((variable) => variable.name)).toEqual(['team', 'model', 'deployment']);
    for (const variable of queries) {
      expect(variable).toMatchObject({ type: 'query', refresh: 2, multi: true, includeAll: true, allValue: '.+' });
      expect(METRIC_NAMES.has(/label_values\((\w+),/.exec(variable.definition ?? '')?.[1] ?? '')).toBe(true);
    }
  });

  test('has no two panels with one id or one title', () => {
    const ids = dashboard.panels.map((panel) => panel.id);
    expect(new Set(ids).size).toBe(ids.length);
    const titles = dashboard.panels.map((panel) => panel.title);
    expect(new Set(titles).size).toBe(titles.length);
  });

  test('panels lie inside the grid and never on top of each other', () => {
    const cells = new Map<string, string>();
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(cells.get(`${x},${y}`), `${title} on a taken place`).toBeUndefined();
          cells.set(`${x},${y}`, title);
        }
      }
    }
  });

  test('shows money, tokens, use, latency and health', () => {
    const shown = new Set(panels.flatMap((panel) => panel.targets.flatMap((target) => readMetricNames(target.expr))));
    const later = /budget/;
    // Only measured profiles have them; an alert tells what matters of them.
    const alerted = /engine_profile_(?:drift_ratio|fit_error_ratio|samples|prefill_factor_ratio)$/;
    const missing = [...METRIC_NAMES].filter(
      (name) => !later.test(name) && !alerted.test(name) && !/_(count|sum)$/.test(name) && !shown.has(name),
    );
    expect(missing).toEqual([]);
  });
});

describe('every panel', () => {
  test.each(named)('%s: says what it shows, in which unit, from the chosen source', (_title, panel) => {
    expect(panel.description?.length).toBeGreaterThan(40);
    expect(UNITS).toContain(panel.fieldConfig.defaults.unit);
    expect(panel.targets.length).toBeGreaterThan(0);
    for (const source of [panel.datasource, ...panel.targets.map((target) => target.datasource)]) {
      expect(source).toEqual({ type: 'prometheus', uid: '${datasource}' });
    }
    expect(panel.targets.map((target) => target.refId)).toEqual(
      panel.targets.map((_, i) => String.fromCodePoint(65 + i)),
    );
  });

  test.each(named)('%s: asks only for metrics that the gateway exports', (_title, panel) => {
    for (const { expr } of panel.targets) {
      const names = readMetricNames(expr);
      expect(names.length).toBeGreaterThan(0);
      expect(names.filter((name) => !METRIC_NAMES.has(name))).toEqual([]);
    }
  });

  test.each(named)('%s: counters are rated over Grafana’s own interval, variables exist', (_title, panel) => {
    for (const { expr } of panel.targets) {
      for (const [, range] of expr.matchAll(/\[([^\]]+)\]/g)) expect(range).toMatch(/^\$__(rate_interval|range)$/);
      const bare = expr.replaceAll(/(?:rate|increase)\([a-z_]+(?:\{[^}]*\})?\[[^\]]+\]\)/g, '');
      expect(bare).not.toMatch(/_total\b/);
      for (const [variable] of expr.matchAll(/\$[a-zA-Z_]+/g)) expect(VARIABLES).toContain(variable);
    }
  });

  test.each(named.filter(([, panel]) => isGauge(panel)))(
    '%s: gauges that every gateway exports are not added up across gateways',
    (_title, panel) => {
      for (const { expr } of panel.targets) {
        expect(expr).toMatch(
          /(max|min) by \([a-z, ]+\) \(inferometer_(month_to_date|upstream_up|price|provisioned|settlement_lag|engine)/,
        );
      }
    },
  );
});

/** Panels on gauges that are the same on each gateway: summing them would multiply the bill. */
function isGauge(panel: Panel): boolean {
  return (
    panel.targets.some((target) =>
      /month_to_date|upstream_up|provisioned_gpus|settlement_lag|engine_profile/.test(target.expr),
    ) && panel.title !== 'Deployments'
  );
}

test('the exceptions for the dashboard linter carry their reasons', () => {
  const lint = readFileSync(new URL('.lint', `file://${dashboard.path}`), 'utf8');
  expect(lint.match(/-rule:/g)?.length).toBe(lint.match(/reason: .{20,}/g)?.length);
});
