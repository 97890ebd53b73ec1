// config/prometheus.yml and the alert rules, judged by Prometheus's own promtool. What each rule does on made-up series
// is written down in alerts.rules.yml.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ensureDebianProgram } from '#test/support/install-debian.ts';
import { METRIC_NAMES, readMetricNames } from '#test/unit/ops/metric-names.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const RULES = `${ROOT}config/alerts/inferometer.yml`;
const RULE_TESTS = fileURLToPath(new URL('./alerts.rules.yml', import.meta.url));

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const groups = (parse(readFileSync(RULES, 'utf8')) as { groups: { name: string; rules: Rule[] }[] }).groups;
const rules = groups.flatMap((group) => group.rules);
const alerts = rules.filter((rule) => rule.alert !== undefined);
let promtool: string;

beforeAll(() => {
  promtool = ensureDebianProgram({ command: 'promtool', debianPackage: 'prometheus' });
});

function runPromtool(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(promtool, args, { encoding: 'utf8', cwd: ROOT });
  return { status, output: stdout + stderr };
}

test('promtool accepts the scrape configuration and the rules it names', () => {
  const { status, output } = runPromtool('check', 'config', 'config/prometheus.yml');
  expect(output).toContain(`${rules.length} rules found`);
  expect(status, output).toBe(0);
});

test('promtool finds nothing to criticise in the rules', () => {
  const { status, output } = runPromtool('check', 'rules', '--lint=all', '--lint-fatal', RULES);
  expect(status, output).toBe(0);
});

test('on made-up series every rule does what it promises', () => {
  const { status, output } = runPromtool('test', 'rules', RULE_TESTS);
  expect(status, output).toBe(0);
});

test('the made-up series notice a changed threshold', () => {
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-rules-'));
  try {
    const changed = readFileSync(RULES, 'utf8').replace('ratio1h > 0.05', 'ratio1h > 0.5');
    writeFileSync(join(folder, 'rules.yml'), changed);
    const suite = parse(readFileSync(RULE_TESTS, 'utf8')) as { tests: { name: string }[] };
    const tests = suite.tests.filter(({ name }) => name.startsWith('only a share of estimated tokens'));
    expect(tests).toHaveLength(1);
    writeFileSync(join(folder, 'suite.yml'), JSON.stringify({ ...suite, rule_files: ['rules.yml'], tests }));
    const { status, output } = runPromtool('test', 'rules', join(folder, 'suite.yml'));
    expect(status).not.toBe(0);
    expect(output).toContain('InferometerUsageMissing');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('every alert', () => {
  test.each(alerts.map((rule) => [rule.alert ?? '', rule] as const))(
    '%s is named, graded and explained',
    (name, rule) => {
      expect(name).toMatch(/^Inferometer[A-Z][A-Za-z]+$/);
      expect(rule.labels?.['severity']).toMatch(/^(critical|warning|info)$/);
      expect(rule.for).toMatch(/^\d+[mh]$/);
      expect(rule.annotations?.['summary']?.length).toBeGreaterThan(15);
      expect(rule.annotations?.['description']?.length).toBeGreaterThan(40);
    },
  );

  test('has a name of its own and stands in the made-up series', () => {
    const names = alerts.map((rule) => rule.alert);
    expect(new Set(names).size).toBe(names.length);
    const suite = readFileSync(RULE_TESTS, 'utf8');
    expect(names.filter((name) => !suite.includes(name ?? ''))).toEqual([]);
  });
});

test('rules read only metrics that the gateway exports, or one another', () => {
  const recorded = new Set(rules.map((rule) => rule.record));
  const names = rules.flatMap((rule) => readMetricNames(rule.expr));
  expect(names.length).toBeGreaterThan(rules.length);
  for (const name of names) {
    expect(METRIC_NAMES.has(name) || recorded.has(name) || name === 'up', name).toBe(true);
  }
});
