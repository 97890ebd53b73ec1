// Signals in the first moments of a gateway: a SIGHUP is neither its end nor forgotten, a SIGTERM is its end and no failure.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');

/** A gateway in the middle of its start: its file is a pipe, reading which takes as long as a test wants. */
function startToRead() {
  const path = join(mkdtempSync(join(tmpdir(), 'hangup-')), 'c.yaml');
  execFileSync('mkfifo', [path]);
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', path], { stdio: ['ignore', 'ignore', 'pipe'] });
  return { path, child };
}

test('SIGHUP while the file is read does not end the process', async () => {
  const { path, child } = startToRead();
  const said: Buffer[] = [];
  child.stderr.on('data', (bytes: Buffer) => said.push(bytes));
  const ended = once(child, 'close');
  const file = await open(path, 'w');
  child.kill('SIGHUP');
  await delay(200);
  await file.writeFile('server: { port: banana }\n').catch(() => {});
  await file.close();
  expect(await ended).toEqual([2, null]);
  expect(Buffer.concat(said).toString()).toContain('server.port');
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s before it serves ends it at once, with 0', async (signal) => {
  const { path, child } = startToRead();
  const ended = once(child, 'exit');
  const file = await open(path, 'w');
  child.kill(signal);
  await delay(200);
  await file.close();
  expect(await ended).toEqual([0, null]);
});

test('worker processes that were still starting when it ended do not stay behind', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'hangup-')), 'c.yaml');
  const config = {
    server: { host: '127.0.0.1', port: 0, workers: 2 },
    admin: { host: '127.0.0.1', port: 0 },
    // Nobody listens there: a worker waits five seconds for it before it asks for its port.
    store: { url: 'redis://127.0.0.1:1/0' },
    journal: { dir: join(path, '..', 'journal') },
    prices: [{ name: 'h', gpu: 'H100-SXM', usdPerGpuHour: 2.5, from: '2026-01-01', source: 'test' }],
    deployments: [
      {
        name: 'd',
        models: ['m'],
        engine: 'vllm',
        gpu: 'H100-SXM',
        gpusPerReplica: 1,
        upstreams: [{ url: 'http://127.0.0.1:1' }],
      },
    ],
    teams: [{ name: 't', keys: [{ key: 'a-key-that-is-long-enough', name: 'k' }] }],
  };
  writeFileSync(path, JSON.stringify(config));
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', path], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const listChildren = () =>
    readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  while (listChildren().length < 2) await delay(50);
  const workers = listChildren();
  await delay(1500);
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
  await delay(7000);
  const left = workers.filter((pid) => existsSync(`/proc/${pid}`));
  for (const pid of left) process.kill(pid, 'SIGKILL');
  expect(left).toEqual([]);
}, 30_000);
