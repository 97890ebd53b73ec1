// A SIGHUP in the first moments of a gateway: neither its end nor forgotten.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');

test('while the file is read it does not end the process', async () => {
  // A pipe: reading it takes as long as this test wants.
  const path = join(mkdtempSync(join(tmpdir(), 'hangup-')), 'c.yaml');
  execFileSync('mkfifo', [path]);
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', path], { stdio: ['ignore', 'ignore', 'pipe'] });
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
