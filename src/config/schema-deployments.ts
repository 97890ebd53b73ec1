// YAML side of the price book and of one deployment with its upstreams. What the values imply across keys and entries
// (names, pools, the price in force) stands in resolve-deployments.ts and check-config.ts.
import { z } from 'zod';
import type { EngineName } from './config.ts';
import { clientTls, TIMER_MAX_MS } from './schema-gateway.ts';
import { decimal, dollars, duration, flag, gpuMillionths, integer, oneOf, secret, text } from './schema-leaf.ts';
import { list, mapping, section, sectionWithDefaults } from './schema-section.ts';

const ENGINES = [
  'tensorrt-llm',
  'triton-openai',
  'triton',
  'nim',
  'dynamo',
  'vllm',
  'tgi',
  'transformers',
  'openai',
] as const satisfies readonly EngineName[];

/** Books are kept by name in plain objects, which have these words without anybody's having named anything so. */
const NAME_PATTERN =
  /^(?!(?:constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|toLocaleString|toString|valueOf)$)[A-Za-z0-9][\w.:/@-]{0,127}$/;
const NAME_EXPECTED =
  'a name of letters, digits and . _ - : / @, starting with a letter or digit, at most 128 long, and no word that every object has, such as constructor';

/** Names of deployments, upstreams, pools and prices: they appear in headers, labels and store keys. */
export const name = () => text({ pattern: NAME_PATTERN, expected: NAME_EXPECTED });
const nameOrEmpty = () => text({ pattern: new RegExp(`^$|${NAME_PATTERN.source}`), expected: NAME_EXPECTED });
const modelName = () => text({ pattern: /^[\x21-\x7e]{1,256}$/, expected: 'a model name without spaces' });
const gpuName = () => text({ pattern: /^\S(?:.{0,62}\S)?$/, expected: 'a GPU name such as H100-SXM' });
const requestField = () => text({ pattern: /^[\w.-]{1,128}$/, expected: 'the name of a request field' });

export const priceSchema = section({
  name: name(),
  gpu: gpuName(),
  usdPerGpuHour: dollars(100_000),
  from: text({ expected: 'a date such as 2026-01-01 or an RFC 3339 instant' }).default('1970-01-01'),
  source: text().default(''),
});

const scheduleRule = section({
  days: text({ expected: 'week days such as mon-fri or sat,sun' }).default('mon-sun'),
  from: text({ expected: 'a time such as "08:00"' }),
  to: text({ expected: 'a time such as "20:00"' }),
  timezone: text({ expected: 'an IANA time zone such as Europe/Berlin' }).default('UTC'),
});

const PROVISIONED_EXPECTED = 'expected always, health, or a list of { days, from, to, timezone }';

/** Read by shape, since a union would answer a wrong key inside a rule with "no alternative fits". */
const provisioned = z.union([list(scheduleRule, 1), oneOf(['always', 'health'])], { error: PROVISIONED_EXPECTED });

const headers = mapping(
  secret({ pattern: /^[\t\x20-\x7e\x80-\xff]*$/, expected: 'a header value without line breaks' }),
);

const PROXY_EXPECTED = 'env, or the URL of an HTTP proxy such as http://proxy:3128';

const upstream = section({
  url: text({ expected: 'a URL such as http://trt-1:8000 or dns+http://trt:8000' }),
  name: nameOrEmpty().default(''),
  pool: nameOrEmpty().default(''),
  replicas: integer(1, 10_000).default(1),
  apiKey: secret({ pattern: /^[\x21-\x7e]*$/, expected: 'a key without spaces or control characters' }).default(''),
  headers: headers.default({}),
  tls: clientTls.optional(),
  proxy: secret({ pattern: /^\S*$/, expected: PROXY_EXPECTED }).default(''),
  weight: decimal(0.000_001, 1_000_000, 'shares').optional(),
  maxInFlight: integer(1, 1_000_000).optional(),
  grpcUrl: text({
    pattern: /^$|^grpcs?:\/\/[^\s/?#@]+:\d{1,5}$/,
    expected: 'a URL such as grpc://triton:8001 or grpcs://triton:8001',
  }).default(''),
  dcgm: text().default(''),
  gpus: list(text({ pattern: /^[\w-]{1,64}$/, expected: 'a GPU id or UUID' })).default([]),
});

const timeouts = sectionWithDefaults({
  connect: duration({ minMs: 1, maxMs: TIMER_MAX_MS }).default(2000),
  firstByte: duration({ minMs: 1, maxMs: TIMER_MAX_MS }).default(600_000),
  idle: duration({ minMs: 1, maxMs: TIMER_MAX_MS }).default(120_000),
});

const health = sectionWithDefaults({
  path: text({ pattern: /^$|^\/\S*$/, expected: 'a path that begins with /' }).default(''),
  interval: duration({ minMs: 10, maxMs: 3_600_000 }).default(5000),
  timeout: duration({ minMs: 1, maxMs: 3_600_000 }).default(2000),
  unhealthyAfter: integer(1, 1000).default(3),
});

/** Milliseconds; an iteration beyond a minute or a token beyond ten seconds is a mistake of units. */
const engineProfile = section({
  iterationMs: decimal(0, 60_000, 'milliseconds'),
  prefillTokenMs: decimal(0, 10_000, 'milliseconds'),
  prefillContextMs: decimal(0, 10_000, 'milliseconds').default(0),
  decodeStepMs: decimal(0, 10_000, 'milliseconds'),
  contextTokenMs: decimal(0, 10_000, 'milliseconds'),
  // Where the terms are from, as `inferometer calibrate` writes it.
  source: oneOf(['declared', 'calibrated']).default('declared'),
  fitError: decimal(0, 1, 'parts of 1').optional(),
  // True: the terms price as they stand here, and no part of prefill is measured.
  fixed: flag().default(false),
});

/** Contract §3 `passThrough`. */
export const DEFAULT_PASS_THROUGH = [
  '/v1/audio/*',
  '/v1/images/*',
  '/v1/moderations',
  '/v1/score',
  '/v1/classify',
  '/v1/pooling',
] as const;

export const deploymentSchema = section({
  name: name(),
  models: list(modelName(), 1),
  engine: oneOf(ENGINES),
  servedModel: text({ pattern: /^$|^[\x21-\x7e]{1,256}$/, expected: 'a model name without spaces' }).default(''),
  gpu: gpuName(),
  gpusPerReplica: gpuMillionths(100_000).default(1_000_000),
  pool: nameOrEmpty().default(''),
  prefillBy: nameOrEmpty().default(''),
  price: nameOrEmpty().default(''),
  provisioned: provisioned.default('always'),
  upstreams: list(upstream, 1),
  timeouts,
  health,
  queue: section({
    size: integer(0, 1_000_000).default(1000),
    timeout: duration({ minMs: 1, maxMs: TIMER_MAX_MS }).default(30_000),
  }).optional(),
  affinity: section({ prefixBytes: integer(1, 1_048_576).default(1024) }).optional(),
  engineProfile: engineProfile.optional(),
  engineStatistics: flag().default(false),
  work: oneOf(['tokens', 'duration']).default('tokens'),
  passThrough: list(text({ pattern: /^\/[^\s?#]*$/, expected: 'a path glob that begins with /' })).default([
    ...DEFAULT_PASS_THROUGH,
  ]),
  allowControl: list(text({ pattern: /^\/[^\s?#]*$/, expected: 'a path glob that begins with /' })).default([]),
  errors: oneOf(['passthrough', 'openai']).default('passthrough'),
  continuousUsage: flag().default(false),
  dropFields: list(requestField()).default([]),
  defaults: mapping(z.unknown()).default({}),
  caps: mapping(integer(0, 2 ** 31 - 1)).default({}),
  tokenizer: text({ maxLength: 4096 }).default(''),
  weight: decimal(0, 1_000_000, 'shares').default(1),
  priority: integer(-1_000_000, 1_000_000).default(0),
  baseline: section({ name: text({ pattern: /\S/ }), usdPerMillionTokens: dollars(1_000_000) }).optional(),
});

/** One price as the schema leaves it. */
export type PriceInput = z.output<typeof priceSchema>;
/** One deployment as the schema leaves it: defaults filled, nothing compared with anything else. */
export type DeploymentInput = z.output<typeof deploymentSchema>;
/** One upstream as the schema leaves it. */
export type UpstreamInput = DeploymentInput['upstreams'][number];
