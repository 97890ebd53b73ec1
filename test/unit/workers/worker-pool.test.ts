// Workers that are forked for real and run a program of a few lines: what the pool owes them, whatever they do.
import cluster from 'node:cluster';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Config } from '#config/config.ts';
import { type Log, silentLog } from '#domain/log.ts';
import { WorkerPool } from '#workers/worker-pool.ts';

/** Listens a moment after it was told to start, and goes on reporting the configuration that it has. */
const WORKER = `
  let config;
  const tell = () => process.send({ t: 'report', report: { readiness: config, upstreams: [], profiles: [] } });
  process.on('message', (message) => {
    if (message.t === 'start') {
      config = message.config;
      setInterval(tell, 20);
      setTimeout(() => process.send({ t: 'listening', addresses: { gatewayUrl: '', grpcAddress: null } }), 100);
    }
    if (message.t !== 'ask' || message.kind !== 'reload') return;
    config = message.asked.config;
    tell();
    process.send({ t: 'answer', id: message.id, value: { refusals: [], error: null } });
  });
  process.send({ t: 'hello' });
`;

const createConfig = (name: string): Config =>
  ({ name, server: { drainDelayMs: 50, drainTimeoutMs: 100 } }) as unknown as Config;

const logged: { readonly pid: number; readonly message: string }[] = [];
const log: Log = {
  ...silentLog,
  info: ({ pid }, message) => void logged.push({ pid: Number(pid), message }),
  error: ({ pid }, message) => void logged.push({ pid: Number(pid), message }),
};

let folder: string;
let pool: WorkerPool;
beforeEach(() => {
  logged.length = 0;
  folder = mkdtempSync(join(tmpdir(), 'workers-'));
  const entry = join(folder, 'worker.mjs');
  writeFileSync(entry, WORKER);
  pool = new WorkerPool({
    count: 2,
    entry,
    config: createConfig('of the start'),
    version: '0',
    configReloadSuccessful: () => true,
    clock: { monotonicMs: () => performance.now() },
    log,
    onFatal: () => {},
    settleLimitMs: 100,
    watchStepMs: 100,
  });
});
afterEach(async () => {
  await pool.abandon();
  rmSync(folder, { recursive: true });
});

it('a worker that is still starting when the configuration changes gets the new one', async () => {
  const started = pool.start();
  expect(await pool.reload(createConfig('changed'))).toEqual([]);
  await started;
  const names = (): unknown[] => pool.reports.map(({ readiness }) => (readiness as unknown as { name: string }).name);
  while (names().join() !== 'changed,changed') await delay(5);
  expect(names()).toHaveLength(2);
});

it('a worker that hangs holds up draining no longer than its limits, and is told of', async () => {
  await pool.start();
  const left = await pool.drain();
  expect(left).toHaveLength(2);
  expect(left.every((words) => words.endsWith('its journal has the rest for the next start'))).toBe(true);
});

it('a worker that hangs is told of once and counts no more until it answers', async () => {
  await pool.start();
  await vi.waitFor(() => expect(pool.reports).toHaveLength(2));
  const [victim = 0] = Object.values(cluster.workers ?? {}).map((worker) => worker?.process.pid);
  process.kill(victim, 'SIGSTOP');
  try {
    await vi.waitFor(() => expect(pool.reports).toHaveLength(1), { timeout: 10_000 });
    await delay(300);
    expect(logged).toEqual([{ pid: victim, message: expect.stringContaining('hangs') }]);
  } finally {
    process.kill(victim, 'SIGCONT');
  }
  await vi.waitFor(() => expect(pool.reports).toHaveLength(2), { timeout: 10_000 });
  expect(logged.slice(1)).toEqual([{ pid: victim, message: 'a worker process answers again' }]);
});
