import { createAdminServer } from '#admin/admin-server.ts';
import type { AdminServerOptions } from '#admin/admin-server.ts';
import { AdminUnprotectedError } from '#admin/admin-access.ts';
import { silentLog } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { createSampleConfig } from '#test/unit/observe/sample-config.ts';
import { RECORD } from '#test/unit/observe/sample-record.ts';
import {
  createBook,
  createCell,
  createFixedBooks,
  EXAMPLE_BOOK,
  EXAMPLE_CELL,
  NOVEMBER,
} from '#test/unit/reports/sample-books.ts';
import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { createOptions, NOW_MS, servers, start, TOKEN } from './start-admin.ts';

function adminConfig(admin: Partial<AdminServerOptions['config']['admin']>) {
  const config = createSampleConfig();
  return { ...config, admin: { ...config.admin, ...admin } };
}

describe('access', () => {
  test('metrics, health and readiness need no token; everything else does', async () => {
    const get = await start();
    for (const path of ['/metrics', '/healthz', '/readyz']) expect((await get(path, {})).status, path).toBe(200);
    for (const path of [
      '/',
      '/api/usage',
      '/api/reports/chargeback',
      '/api/deployments',
      '/api/requests',
      '/api/keys',
      '/nowhere',
    ]) {
      const { status, body } = await get(path, {});
      expect({ status, code: body?.error?.code }, path).toEqual({ status: 401, code: 'invalid_token' });
    }
  });

  test.each(['Bearer wrong', `Bearer ${TOKEN}x`, `Basic ${TOKEN}`, TOKEN, 'Bearer ', ''])(
    'refuses "%s"',
    async (authorization) => {
      const get = await start();
      expect((await get('/api/requests', { authorization })).status).toBe(401);
    },
  );

  test('a metrics token protects the metrics and opens nothing else', async () => {
    const get = await start({ config: adminConfig({ metricsToken: 'scrape-token' }) });
    expect(await get('/metrics', {})).toMatchObject({
      status: 401,
      text: expect.stringContaining('Bearer <metrics token> is missing'),
    });
    expect((await get('/metrics', { authorization: 'Bearer scrape-token' })).text).toContain('inferometer_store_up 1');
    expect((await get('/api/requests', { authorization: 'Bearer scrape-token' })).status).toBe(401);
  });

  test('beyond loopback without a token it refuses to be created, unless told that none is required', () => {
    const open = { host: '0.0.0.0', token: '' };
    expect(() => createAdminServer(createOptions({ config: adminConfig(open) }))).toThrow(AdminUnprotectedError);
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (_fields: unknown, message: string) => void warnings.push(message) };
    createAdminServer(createOptions({ config: adminConfig({ ...open, requireToken: false }), log }));
    expect(warnings).toHaveLength(1);
  });

  test('a reload may change the token, but not take it away where it is needed', async () => {
    const server = createAdminServer(createOptions({ config: adminConfig({ host: '0.0.0.0' }) }));
    servers.push(server);
    const { port } = await server.listen();
    server.reload(adminConfig({ host: '127.0.0.1', token: 'the-next-admin-token' }));
    const statusWith = async (token: string) =>
      (await fetch(`http://127.0.0.1:${port}/`, { headers: { authorization: `Bearer ${token}` } })).status;
    expect([await statusWith(TOKEN), await statusWith('the-next-admin-token')]).toEqual([401, 200]);
    server.reload(adminConfig({ host: '127.0.0.1', token: '' }));
    expect([await statusWith(''), await statusWith('the-next-admin-token')]).toEqual([401, 200]);
  });

  test('on loopback without a token, a page that rebinds its own name to this machine is turned away', async () => {
    const server = createAdminServer(createOptions({ config: adminConfig({ token: '' }) }));
    servers.push(server);
    const { port } = await server.listen();
    const statusAs = (host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        request({ host: '127.0.0.1', port, path: '/api/deployments', headers: { host } }, (res) => {
          res.resume();
          resolve(res.statusCode);
        })
          .on('error', reject)
          .end();
      });
    expect(await statusAs(`localhost:${port}`)).toBe(200);
    expect(await statusAs('evil.example')).toBe(403);
  });
});

describe('readiness', () => {
  test.each([
    ['ready', 200],
    ['degraded', 200],
    ['starting', 503],
    ['draining', 503],
    ['unready', 503],
  ])('%s is answered with %i', async (status, code) => {
    const get = await start({ readiness: () => ({ status, checks: { config: 'ok' } }) });
    const answer = await get('/readyz', {});
    expect(answer.status).toBe(code);
    expect(answer.body).toEqual({ status, checks: { config: 'ok' } });
  });
});

describe('reports', () => {
  test('the chargeback report comes as JSON, CSV and text', async () => {
    const get = await start();
    const json = await get('/api/reports/chargeback?from=2026-11-01&to=2026-11-02&groupBy=team');
    expect(json.body).toMatchObject({ schema: 'inferometer.chargeback/1', complete: true, groupBy: ['team'] });
    expect(json.body.rows[0]).toMatchObject({ team: 'search', costNanoUsd: '8573387' });
    const csv = await get('/api/reports/chargeback?month=2026-11&format=csv');
    expect(csv.headers.get('content-type')).toContain('text/csv');
    expect(csv.text.split('\r\n')[0]).toMatch(/^line,team,model,requests,/);
    expect((await get('/api/reports/chargeback?format=table')).text).toContain('difference 0 nanodollars');
  });

  test('the chargeback report counts the requests of the gateway that wait for their cost', async () => {
    const waiting = [NOW_MS - 1000, NOW_MS - 2000, NOW_MS - 86_400_000].map((endedAtMs) => ({ ...RECORD, endedAtMs }));
    const get = await start({ unsettled: () => waiting });
    const { body } = await get('/api/reports/chargeback?from=2026-11-22&to=2026-11-23');
    expect(body.outstanding).toMatchObject({ unsettledRequests: 2, unfrozenSeconds: 2 });
    const { text } = await get('/api/reports/chargeback?from=2026-11-22&to=2026-11-23&format=table');
    expect(text).toContain('Pending: 2 finished requests at this gateway without a cost yet; 2 seconds of the period');
  });

  test('a count that a process of the gateway did not answer is not known, rather than too low', async () => {
    const get = await start({ unsettled: () => [RECORD], allUnsettled: () => Promise.resolve(null) });
    const { body } = await get('/api/reports/chargeback?from=2026-11-22&to=2026-11-23');
    expect(body.outstanding).toMatchObject({ unsettledRequests: null });
  });

  test.each([
    ['groupBy=colour', 'groupBy'],
    ['groupby=team', 'groupby'],
    ['month=2026-13', 'month'],
    ['month=2026-11&from=2026-11-01', 'month'],
    ['from=yesterday', 'from'],
    ['from=2026-11-02&to=2026-11-01', 'to'],
    ['from=2026-11-01T08:30:00Z&to=2026-11-02', 'from'],
    ['timezone=Asia/Kolkata', 'timezone'],
    ['timezone=Mars/Olympus', 'timezone'],
    ['idle=reserved', 'idle'],
    ['idle=magic', 'idle'],
    ['format=html', 'format'],
    ['basis=planned', 'basis'],
    ['team=a&team=b', 'team'],
  ])('?%s is answered with 400 naming the parameter', async (query, parameter) => {
    const get = await start();
    const { status, body } = await get(`/api/reports/chargeback?${query}`);
    expect(status).toBe(400);
    expect(body.error.code).toBe('invalid_parameter');
    expect(body.error.message.startsWith(`${parameter}: `)).toBe(true);
    expect(body.error.message.length).toBeGreaterThan(parameter.length + 12);
  });

  test('a store that does not answer is a 503, and what nobody foresaw a 500 without its words', async () => {
    const down = await start({
      books: {
        ...createFixedBooks(),
        readStatus: () => Promise.reject(new StoreUnavailableError('redis://user:secret@host')),
      },
    });
    const answer = await down('/api/reports/chargeback');
    expect([answer.status, answer.body.error.code]).toEqual([503, 'store_unavailable']);
    expect(answer.text).not.toContain('secret');
    const broken = await start({
      books: { ...createFixedBooks(), readStatus: () => Promise.reject(new Error('secret')) },
    });
    const failure = await broken('/api/reports/chargeback');
    expect([failure.status, failure.body.error.code]).toEqual([500, 'internal_error']);
    expect(failure.text).not.toContain('secret');
  });
});

describe('usage', () => {
  test('comes in whole buckets with the rows of a report', async () => {
    const cells = [
      createCell({ start: NOVEMBER + 3600 }, { requests: 1n, costNanoUsd: 5n }),
      createCell({ start: NOVEMBER + 7200, model: 'other' }, { requests: 2n, costNanoUsd: 6n }),
      createCell({ start: NOVEMBER + 90_000 }, { requests: 4n, costNanoUsd: 7n }),
    ];
    const get = await start({ books: createFixedBooks({ cells, status: { nowMs: NOW_MS } }) });
    const days = await get('/api/usage?from=2026-11-01&to=2026-11-03&granularity=day&groupBy=team');
    expect(days.body.buckets).toEqual([
      expect.objectContaining({
        start: '2026-11-01T00:00:00Z',
        end: '2026-11-02T00:00:00Z',
        team: 'search',
        requests: 3,
        costNanoUsd: '11',
      }),
      expect.objectContaining({ start: '2026-11-02T00:00:00Z', end: '2026-11-03T00:00:00Z', requests: 4 }),
    ]);
    const hours = await get('/api/usage?from=2026-11-01&to=2026-11-02&granularity=hour&groupBy=model');
    expect(hours.body.buckets.map((bucket: { start: string; model: string }) => [bucket.start, bucket.model])).toEqual([
      ['2026-11-01T01:00:00Z', 'llama-3.1-70b'],
      ['2026-11-01T02:00:00Z', 'other'],
    ]);
    expect((await get('/api/usage?granularity=week')).status).toBe(400);
    expect((await get('/api/usage?groupBy=user')).status).toBe(400);
  });
});

describe('deployments', () => {
  test('tell price, health, utilisation and concurrency', async () => {
    const start_ = Date.UTC(2026, 10, 22, 10) / 1000;
    const cells = [{ ...EXAMPLE_CELL, start: start_ }];
    const books = [
      createBook(
        { hour: start_ },
        { ...EXAMPLE_BOOK.metrics, chargedGpuMicros: 3_600_000_000n, busyMs: 900_000n, flightMs: 1_800_000n },
      ),
    ];
    const get = await start({ books: createFixedBooks({ cells, books }) });
    const { body } = await get('/api/deployments');
    const figures = {
      usdPerMillionTokens: {
        input: '0.315391085',
        output: '1.393346750',
        blended: '0.634501702',
        blendedWithIdle: '740.082889284',
      },
      utilisation: 0.25,
      meanConcurrency: 2,
    };
    expect(body).toEqual({
      deployments: [
        {
          name: 'llama-70b',
          model: 'llama-3.1-70b',
          models: ['llama-3.1-70b', 'meta-llama/Llama-3.1-70B-Instruct'],
          engine: 'tensorrt-llm',
          gpu: 'H100-SXM',
          upstreams: [{ name: 'trt-1', healthy: true, inFlight: 3 }],
          usdPerHour: '10',
          ...figures,
          lastHour: figures,
          profile: {
            source: 'declared',
            fitError: null,
            iterationMs: 12,
            prefillTokenMs: 0.03,
            prefillContextMs: 0,
            decodeStepMs: 0.04,
            contextTokenMs: 0,
          },
        },
      ],
    });
  });

  test('say which part of a declared prefill counts, and the terms in force with it', async () => {
    const { sources } = createOptions();
    const profiles: typeof sources.profiles = () =>
      sources.profiles().map((known) => ({
        ...known,
        prefillFactor: 0.8,
        profile: { ...known.profile, prefillTokenMs: 0.024 },
      }));
    const get = await start({ sources: { ...sources, profiles } });
    const [deployment] = (await get('/api/deployments')).body.deployments;
    expect(deployment.profile).toMatchObject({ source: 'declared', prefillFactor: 0.8, prefillTokenMs: 0.024 });
  });

  test('behind a URL that hides several engines are marked as pooled', async () => {
    const sample = createSampleConfig();
    const [deployment] = sample.deployments;
    if (deployment === undefined) throw new Error('the sample has a deployment');
    const upstreams = deployment.upstreams.map((upstream) => ({ ...upstream, replicas: 4 }));
    const config = { ...sample, deployments: [{ ...deployment, upstreams }] };
    const get = await start({ config });
    expect((await get('/api/deployments')).body.deployments[0]).toMatchObject({ name: 'llama-70b', pooled: true });
  });

  test('take no parameter: what looks like a filter is refused instead of being left out', async () => {
    const get = await start();
    const { status, body } = await get('/api/deployments?name=llama-70b');
    expect([status, body.error.code]).toEqual([400, 'invalid_parameter']);
    expect(body.error.message).toContain('name: is not a parameter of this route; it knows none');
  });

  test('without traffic nothing is known, which is null', async () => {
    const get = await start({ books: createFixedBooks({ cells: [], books: [] }) });
    const { body } = await get('/api/deployments');
    expect(body.deployments[0]).toMatchObject({
      utilisation: null,
      meanConcurrency: null,
      usdPerMillionTokens: { blended: null },
    });
  });
});

describe('the rest', () => {
  test('what a later version brings says so', async () => {
    const get = await start();
    for (const [path, method] of [
      ['/api/keys', 'GET'],
      ['/api/keys', 'POST'],
      ['/api/keys/k_1', 'DELETE'],
      ['/api/audit', 'GET'],
    ] as const) {
      const { status, body } = await get(path, undefined, method);
      expect([status, body.error.code], path).toEqual([501, 'not_implemented']);
      expect(body.error.message).toContain('later');
    }
  });

  test('the start page lists the endpoints and loads nothing', async () => {
    const get = await start();
    const { text, headers } = await get('/');
    expect(text).toContain('/api/reports/chargeback');
    expect(text).not.toMatch(/https?:|<script|<link/);
    expect(headers.get('content-security-policy')).toBe("default-src 'none'");
  });

  test('unknown routes and addresses that cannot be decoded are errors of the same shape', async () => {
    const get = await start();
    expect((await get('/nowhere')).body).toEqual({ error: { message: expect.any(String), code: 'route_not_found' } });
    const undecodable = await get('/api/keys/%ff');
    expect([undecodable.status, undecodable.body.error.code]).toEqual([400, 'invalid_request']);
  });

  test('closing ends a connection that stays open, and may be repeated', async () => {
    const server = createAdminServer(createOptions());
    const { port } = await server.listen();
    await (await fetch(`http://127.0.0.1:${port}/healthz`)).text();
    await server.close();
    await server.close();
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
  });
});
