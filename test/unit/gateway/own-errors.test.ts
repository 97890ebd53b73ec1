// Every code of the contract's "Own errors", provoked over real HTTP in every protocol that can meet it.
import { afterEach, describe, expect, it } from 'vitest';
import type { Config, DeploymentConfig } from '#config/config.ts';
import { type ErrorCode, ERROR_KINDS, GatewayError } from '#domain/errors.ts';
import type { Protocol } from '#gateway/metered-routes.ts';
import { createGate } from '#test/support/fake-engine.ts';
import { createChatAndRanker } from './chat-and-ranker.ts';
import {
  ADS_KEY,
  type Answer,
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  type SendOptions,
  startHarness,
} from './harness.ts';

const PATHS: Readonly<Record<Protocol, string>> = {
  openai: '/v1/chat/completions',
  anthropic: '/v1/messages',
  kserve: '/v2/models/ranker/infer',
};
const BODIES: Readonly<Record<Protocol, object>> = {
  openai: chatBody(),
  anthropic: chatBody({ max_tokens: 5 }),
  kserve: { inputs: [] },
};
/** Anthropic's words for the same; the others carry ours or none. */
const ANTHROPIC: Partial<Record<ErrorCode, string>> = {
  invalid_json: 'invalid_request_error',
  invalid_api_key: 'authentication_error',
  model_not_allowed: 'permission_error',
  model_not_found: 'not_found_error',
  request_too_large: 'request_too_large',
  rate_limit_exceeded: 'rate_limit_error',
  budget_exceeded: 'rate_limit_error',
  upstream_unreachable: 'api_error',
  overloaded: 'overloaded_error',
  upstream_timeout: 'timeout_error',
};

function configure(url: string, changes: Partial<DeploymentConfig> = {}, overrides: object = {}): Config {
  const shared = { queue: { size: 0, timeoutMs: 1000 }, ...changes };
  const deployments = createChatAndRanker(url, {
    chat: shared,
    ranker: { ...shared, work: 'duration' },
    upstream: { maxInFlight: 1 },
  });
  const config = createConfig(deployments, overrides);
  const [search, ...others] = config.teams;
  if (search === undefined) return config;
  return { ...config, teams: [{ ...search, limits: { concurrency: 1 } }, ...others] };
}

/** What makes a gateway answer with one code. */
interface Row {
  readonly code: ErrorCode;
  /** Only where not every protocol can meet it. */
  readonly protocols?: readonly Protocol[];
  readonly request?: SendOptions | ((protocol: Protocol) => SendOptions);
  /** Thrown by limits and budgets. */
  readonly admission?: Error;
  readonly config?: (url: string) => Config;
  /** Brings the gateway into the state that refuses. */
  readonly prepare?: (harness: Harness) => Promise<void> | void;
  /** Where the answer must be waited for while something happens. */
  readonly during?: (harness: Harness, asked: Promise<void>) => Promise<void>;
  readonly type?: string;
  readonly param?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Null: counted, never recorded. Default: rejected, without an upstream. */
  readonly record?: object | null;
}

const tags = (value: string): SendOptions => ({ headers: { 'x-inferometer-tags': value } });
const timedOut = { outcome: 'timed_out', status: 504 };

const ROWS: readonly Row[] = [
  { code: 'invalid_json', protocols: ['openai', 'anthropic'], request: { body: '{"model":' } },
  { code: 'model_required', protocols: ['openai', 'anthropic'], request: { body: {} }, param: 'model' },
  { code: 'invalid_tags', request: tags('a=1,b=2,c=3,d=4,e=5,f=6') },
  { code: 'invalid_api_key', request: { key: 'wrong-key-0123456789' }, record: null },
  {
    code: 'unknown_team',
    config: (url) =>
      configure(
        url,
        {},
        {
          tenancy: { authentication: ['header'], header: { name: 'x-team', trustedProxies: ['127.0.0.0/8'] } },
        },
      ),
    request: { key: null, headers: { 'x-team': 'nobody' } },
    record: null,
  },
  { code: 'model_not_allowed', request: { key: ADS_KEY } },
  {
    code: 'model_not_found',
    request: (protocol) =>
      protocol === 'kserve' ? { path: '/v2/models/nobody/infer' } : { body: chatBody({ model: 'nobody' }) },
  },
  {
    code: 'route_not_found',
    request: (protocol) => ({
      path: { openai: '/v1/nothing', anthropic: '/v1/messages/x', kserve: '/v2/nothing' }[protocol],
    }),
  },
  { code: 'request_too_large', request: { body: `"${'x'.repeat(300_000)}"` } },
  {
    code: 'unsupported_encoding',
    request: { headers: { 'content-encoding': 'compress' } },
    param: 'content-encoding',
    headers: { 'accept-encoding': 'gzip, deflate, br, zstd' },
  },
  {
    code: 'rate_limit_exceeded',
    admission: new GatewayError('rate_limit_exceeded', { headers: { 'retry-after': '2', 'retry-after-ms': '1500' } }),
    type: 'requests',
    headers: { 'retry-after': '2', 'retry-after-ms': '1500' },
  },
  {
    code: 'budget_exceeded',
    admission: new GatewayError('budget_exceeded', {
      headers: { 'retry-after': '60', 'x-should-retry': 'false', 'x-inferometer-budget-reset': '2026-12-01T00:00:00Z' },
    }),
    type: 'insufficient_quota',
    headers: { 'retry-after': '60', 'x-should-retry': 'false', 'x-inferometer-budget-reset': '2026-12-01T00:00:00Z' },
  },
  { code: 'internal_error', admission: new Error('secret of ours') },
  {
    code: 'upstream_unreachable',
    prepare: (harness) => harness.engine.close(),
    record: { outcome: 'upstream_error', status: 502, pool: null },
  },
  {
    code: 'no_healthy_upstream',
    config: (url) =>
      configure(url, { health: { path: '/health', intervalMs: 20, timeoutMs: 1000, unhealthyAfter: 1 } }),
    async prepare({ engine, gateway }) {
      engine.healthStatus = 503;
      while (gateway.upstreamStatus().some(({ healthy }) => healthy !== false))
        await new Promise((resolve) => setTimeout(resolve, 5));
    },
  },
  {
    code: 'overloaded',
    async prepare({ engine, port }) {
      const asked = [createGate(), createGate()];
      let count = 0;
      engine.answerWith((res, { method }) => (method === 'POST' ? asked[count++]?.open() : void res.end()));
      for (const protocol of ['openai', 'kserve'] as const)
        void send(port, { path: PATHS[protocol], body: BODIES[protocol] }).catch(() => {});
      await Promise.all(asked.map(({ opened }) => opened));
    },
    headers: { 'retry-after': '1', 'retry-after-ms': '1000' },
  },
  {
    code: 'upstream_timeout',
    async during({ clock }, asked) {
      await asked;
      clock.advance(62_500);
    },
    headers: { 'x-should-retry': 'false' },
    record: timedOut,
  },
  {
    code: 'draining',
    prepare: ({ gateway }) => gateway.startDraining(),
    headers: { 'retry-after': '1', connection: 'close' },
  },
];

let harness: Harness | undefined;
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

async function provoke(row: Row, protocol: Protocol): Promise<Answer> {
  const { admission } = row;
  harness = await startHarness(
    row.config ?? configure,
    admission === undefined ? {} : { admission: { admit: () => Promise.reject(admission) } },
  );
  await row.prepare?.(harness);
  const special = typeof row.request === 'function' ? row.request(protocol) : row.request;
  const asked = createGate();
  if (row.during !== undefined)
    harness.engine.answerWith((res, { method }) => (method === 'POST' ? asked.open() : void res.end()));
  const answer = send(harness.port, { path: PATHS[protocol], body: BODIES[protocol], ...special });
  await row.during?.(harness, asked.opened);
  return answer;
}

function readError(answer: Answer, protocol: Protocol): Record<string, unknown> {
  const body = JSON.parse(answer.text) as { error: Record<string, unknown> | string };
  if (protocol === 'kserve') {
    expect(body).toEqual({ error: expect.any(String) });
    return { message: body.error };
  }
  if (protocol === 'anthropic') expect(body).toMatchObject({ type: 'error' });
  return body.error as Record<string, unknown>;
}

const cases = ROWS.flatMap((row) =>
  (row.protocols ?? (['openai', 'anthropic', 'kserve'] as const)).map((protocol) => [row.code, protocol, row] as const),
);

describe('own errors', () => {
  it.each(cases)(
    '%s in the protocol of %s: status, envelope, headers, and a record or none',
    async (code, protocol, row) => {
      const answer = await provoke(row, protocol);
      const { status, type } = ERROR_KINDS[code];
      expect(answer.status).toBe(status);
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
      expect(answer.headers['content-length']).toBe(String(answer.body.length));
      expect(answer.headers).toMatchObject(row.headers ?? {});
      expect(answer.headers['x-inferometer-request-id']).toMatch(/^[0-9a-f-]{36}$/);
      if (row.headers?.['x-should-retry'] === undefined) expect(answer.headers['x-should-retry']).toBeUndefined();
      const error = readError(answer, protocol);
      expect(error['message']).toEqual(expect.stringMatching(/^[A-Z].*\.$/));
      expect(answer.text).not.toContain('secret of ours');
      if (protocol === 'openai')
        expect(error).toEqual({
          message: error['message'],
          type: row.type ?? type,
          param: row.param ?? error['param'],
          code,
        });
      if (protocol === 'anthropic' && ANTHROPIC[code] !== undefined) expect(error['type']).toBe(ANTHROPIC[code]);
      const own = harness?.metering.records.filter(
        ({ requestId }) => requestId === answer.headers['x-inferometer-request-id'],
      );
      if (row.record === null) expect(own).toEqual([]);
      else
        expect(own).toMatchObject([row.record ?? { outcome: 'rejected', status, upstream: null, lastAttempt: true }]);
      // The engine that was asked is named in the answer as in the record, and nowhere else.
      expect(answer.headers['x-inferometer-upstream'] ?? null).toBe(own?.at(-1)?.upstream ?? null);
      if (code.startsWith('upstream_')) expect(own?.at(-1)?.upstream).toEqual(expect.any(String));
      expect(harness?.rejections.filter((line) => line.endsWith(` ${code}`))).toHaveLength(1);
    },
  );

  it('names no engine where engines are not to be exposed', async () => {
    harness = await startHarness((url) => {
      const config = createConfig([createDeploymentConfig([createUpstreamConfig(url)])]);
      return { ...config, server: { ...config.server, exposeUpstream: false } };
    });
    await harness.engine.close();
    const answer = await send(harness.port);
    expect(answer.status).toBe(502);
    expect(answer.headers['x-inferometer-upstream']).toBeUndefined();
    expect(harness.metering.records).toMatchObject([{ upstream: 'trt-1' }]);
  });

  it('every code that a request can meet stands in this table, but for those that have a test of their own', () => {
    const elsewhere = ['invalid_request', 'request_timeout', 'request_not_found'];
    const tested = new Set<string>([...ROWS.map(({ code }) => code), ...elsewhere]);
    expect(Object.keys(ERROR_KINDS).filter((code) => !tested.has(code))).toEqual([]);
  });
});
