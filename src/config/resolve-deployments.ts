// One deployment from what the schema read to what the gateway runs on: names, URLs, pools, defaults by engine.
// What is compared between deployments stands in check-config.ts.
import { checkFieldRules } from './check-field-rules.ts';
import { isTimeZone, parseMinuteOfDay, parseWeekDays } from './calendar.ts';
import type { DeploymentConfig, EngineName, ProvisionedConfig, ScheduleRule } from './config.ts';
import type { ConfigPath, ProblemList } from './problem.ts';
import { formatUsdShortest } from '#domain/nano-usd.ts';
import { resolvePriceName } from './resolve-prices.ts';
import type { PriceContext } from './resolve-prices.ts';
import { resolveUpstreams } from './resolve-upstreams.ts';
import { unwrapScalars } from './scalar.ts';
import type { DeploymentInput } from './schema-deployments.ts';
import type { Entry } from './schema.ts';

/**
 * The health check of each engine: says "ready" where the server tells it apart from "alive", and never generates
 * (trtllm-serve's /health_generate, and TGI's /health when its last generation failed, run a request on the GPU).
 */
const HEALTH_PATHS: Readonly<Record<EngineName, string>> = {
  'tensorrt-llm': '/health',
  'triton-openai': '/health/ready',
  triton: '/v2/health/ready',
  nim: '/v1/health/ready',
  dynamo: '/health',
  vllm: '/health',
  tgi: '/info',
  transformers: '/health',
  openai: '/v1/models',
};

/** The resolved deployment; undefined when a problem, which `context.findings` then has, leaves none. */
export function resolveDeployment(entry: Entry<DeploymentInput>, context: PriceContext): DeploymentConfig | undefined {
  const { value } = entry;
  const { findings } = context;
  const path = ['deployments', entry.index] as const;
  const priceName = resolvePriceName(value, path, context);
  const provisioned = resolveProvisioned(value.provisioned, [...path, 'provisioned'], findings);
  const upstreams = resolveUpstreams(value, path, findings);
  checkModels(value, path, findings);
  checkProfile(value, path, findings);
  checkContinuousUsage(value, path, findings);
  checkFieldRules(value, path, findings);
  if (priceName === undefined || findings.has(path)) return undefined;
  return {
    name: value.name,
    models: value.models,
    engine: value.engine,
    servedModel: value.servedModel === '' ? (value.models[0] ?? value.name) : value.servedModel,
    gpu: value.gpu,
    gpuMillionths: value.gpusPerReplica,
    priceName,
    provisioned,
    upstreams,
    timeouts: {
      connectMs: value.timeouts.connect,
      firstByteMs: value.timeouts.firstByte,
      idleMs: value.timeouts.idle,
    },
    health: {
      path: value.health.path === '' ? HEALTH_PATHS[value.engine] : value.health.path,
      intervalMs: value.health.interval,
      timeoutMs: value.health.timeout,
      unhealthyAfter: value.health.unhealthyAfter,
    },
    engineStatistics: value.engineStatistics,
    work: value.work,
    passThrough: value.passThrough,
    ...(value.allowControl.length === 0 ? {} : { allowControl: value.allowControl }),
    errors: value.errors,
    dropFields: value.dropFields,
    defaults: unwrapScalars(value.defaults) as Readonly<Record<string, unknown>>,
    caps: value.caps,
    weight: value.weight,
    priority: value.priority,
    ...resolveOptional(value),
  };
}

function resolveOptional(
  value: DeploymentInput,
): Pick<
  DeploymentConfig,
  | 'engineProfile'
  | 'engineProfileOrigin'
  | 'engineProfileFixed'
  | 'tokenizer'
  | 'baseline'
  | 'queue'
  | 'affinity'
  | 'continuousUsage'
> {
  const { engineProfile, tokenizer, baseline, queue, affinity, continuousUsage } = value;
  return {
    ...(queue === undefined ? {} : { queue: { size: queue.size, timeoutMs: queue.timeout } }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(continuousUsage ? { continuousUsage } : {}),
    ...(tokenizer === '' ? {} : { tokenizer }),
    ...resolveProfile(engineProfile),
    ...(baseline === undefined
      ? {}
      : {
          baseline: {
            name: baseline.name,
            nanoUsdPerMillionTokens: baseline.usdPerMillionTokens,
            usdPerMillionTokens: formatUsdShortest(baseline.usdPerMillionTokens),
          },
        }),
  };
}

function resolveProfile(
  written: DeploymentInput['engineProfile'],
): Pick<DeploymentConfig, 'engineProfile' | 'engineProfileOrigin' | 'engineProfileFixed'> {
  if (written === undefined) return {};
  const { source, fitError = null, fixed, ...engineProfile } = written;
  return {
    engineProfile,
    ...(source === 'calibrated' ? { engineProfileOrigin: { source, fitError } } : {}),
    ...(fixed ? { engineProfileFixed: true } : {}),
  };
}

function resolveProvisioned(
  written: DeploymentInput['provisioned'],
  path: ConfigPath,
  findings: ProblemList,
): ProvisionedConfig {
  if (!Array.isArray(written)) return { kind: written };
  return { kind: 'schedule', rules: written.map((rule, index) => resolveRule(rule, [...path, index], findings)) };
}

function resolveRule(
  rule: Exclude<DeploymentInput['provisioned'], string>[number],
  path: ConfigPath,
  findings: ProblemList,
): ScheduleRule {
  const days = parseWeekDays(rule.days);
  const fromMinute = parseMinuteOfDay(rule.from);
  const toMinute = parseMinuteOfDay(rule.to);
  if (days === undefined) findings.add([...path, 'days'], 'expected week days such as mon-fri, sat,sun or mon');
  if (fromMinute === undefined || fromMinute === 1440) {
    findings.add([...path, 'from'], 'expected a time from "00:00" to "23:59"');
  }
  if (toMinute === undefined) findings.add([...path, 'to'], 'expected a time from "00:00" to "24:00"');
  else if (toMinute === fromMinute)
    findings.add([...path, 'to'], 'the span is empty: for a whole day write "00:00" to "24:00"');
  if (!isTimeZone(rule.timezone))
    findings.add([...path, 'timezone'], 'expected an IANA time zone such as Europe/Berlin');
  return { days: days ?? [], fromMinute: fromMinute ?? 0, toMinute: toMinute ?? 0, timezone: rule.timezone };
}

function checkModels(value: DeploymentInput, path: ConfigPath, findings: ProblemList): void {
  for (const [index, model] of value.models.entries()) {
    if (value.models.indexOf(model) < index)
      findings.add([...path, 'models', index], `${model} stands in this list twice`);
  }
}

/** Engines whose streams can carry running counts (upstreams.md §5.6). */
const CONTINUOUS: ReadonlySet<EngineName> = new Set(['tensorrt-llm', 'vllm', 'nim', 'dynamo', 'openai']);

function checkContinuousUsage(value: DeploymentInput, path: ConfigPath, findings: ProblemList): void {
  if (!value.continuousUsage || CONTINUOUS.has(value.engine)) return;
  findings.add([...path, 'continuousUsage'], `${value.engine} sends no running counts: expected false`);
}

function checkProfile(value: DeploymentInput, path: ConfigPath, findings: ProblemList): void {
  const { engineProfile } = resolveProfile(value.engineProfile);
  if (engineProfile !== undefined && Object.values(engineProfile).every((term) => term === 0)) {
    findings.add(
      [...path, 'engineProfile'],
      'at least one term must be above 0; leave engineProfile out to have it learned',
    );
  }
}
