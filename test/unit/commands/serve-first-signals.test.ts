// Signals in the first moments of a gateway: a SIGHUP is neither its end nor forgotten, a SIGTERM is its end and no failure.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
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
