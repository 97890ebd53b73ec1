// An admin server over fixed books on a free port of loopback, closed after each test.
import { createAdminServer } from '#admin/admin-server.ts';
import type { AdminServer, AdminServerOptions } from '#admin/admin-server.ts';
import { silentLog } from '#domain/log.ts';
import { createSampleConfig } from '#test/unit/observe/sample-config.ts';
import { createFixedBooks } from '#test/unit/reports/sample-books.ts';
import { afterEach } from 'vitest';

/** The admin token of createSampleConfig. */
export const TOKEN = 'admin-token-of-the-test';
/** The clock of every server here. */
export const NOW_MS = Date.UTC(2026, 10, 22, 10, 30);

/** Closed after each test. */
export const servers: AdminServer[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** Everything a server needs, on fixed books. */
export function createOptions(overrides: Partial<AdminServerOptions> = {}): AdminServerOptions {
  return {
    config: createSampleConfig(),
    books: createFixedBooks({ status: { nowMs: NOW_MS, frontier: NOW_MS / 1000 - 3 } }),
    metrics: {
      render: async () => 'inferometer_store_up 1\n',
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
    },
    readiness: () => ({ status: 'ready', checks: { config: 'ok', store: 'ok', journal: 'ok', upstreams: {} } }),
    sources: {
      upstreamStatus: () => [{ deployment: 'llama-70b', upstream: 'trt-1', healthy: true, inFlight: 3 }],
      profiles: () => [
        {
          deployment: 'llama-70b',
          source: 'declared',
          profile: {
            iterationMs: 12,
            prefillTokenMs: 0.03,
            prefillContextMs: 0,
            decodeStepMs: 0.04,
            contextTokenMs: 0,
          },
        },
      ],
    },
    unsettled: () => [],
    clock: { monotonicMs: () => 0, epochMs: () => NOW_MS, toEpochMs: (ms) => ms },
    log: silentLog,
    ...overrides,
  };
}

/** Starts a server and returns a GET with the admin token, or with the headers given. */
export async function start(overrides: Partial<AdminServerOptions> = {}) {
  const server = createAdminServer(createOptions(overrides));
  servers.push(server);
  const { port } = await server.listen();
  return async (
    path: string,
    headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` },
    method = 'GET',
  ) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers, method });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : null };
  };
}
