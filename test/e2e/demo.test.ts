// Stopping the demo in the middle: nothing of it stays.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { until } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';

/** Processes whose parent this is. */
function childrenOf({ pid }: ChildProcess): number[] {
  const told = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return told.split(' ').filter(Boolean).map(Number);
}

it('a demo that is told to stop in the middle of its traffic, twice, leaves no process and no file behind', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'inferometer-demo-'));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  const main = join(import.meta.dirname, '../../src/main.ts');
  const demo = spawn(process.execPath, [main, 'demo', '--once'], { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  let err = '';
  demo.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const exited = once(demo, 'exit');
  await until('the traffic runs', () => Promise.resolve(err.includes('in flight')));
  const children = childrenOf(demo);
  onTestFinished(() => {
    for (const pid of children.filter((child) => existsSync(`/proc/${child}`))) process.kill(pid, 'SIGKILL');
  });
  expect(children).toHaveLength(3);
  demo.kill('SIGTERM');
  demo.kill('SIGINT');
  expect(await exited).toEqual([1, null]);
  expect(err).toContain('inferometer demo: stopped before the check\n');
  expect(readdirSync(join(cwd, 'data'))).toEqual([]);
  expect(children.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
});

it('a demo that is told to stop while its books settle shows none of them and leaves no file behind', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'inferometer-demo-'));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  const main = join(import.meta.dirname, '../../src/main.ts');
  const args = [main, 'demo', '--once', '--seconds', '1'];
  const demo = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  demo.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  let err = '';
  demo.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const closed = once(demo, 'close');
  await until('the traffic has ended', () => Promise.resolve(err.includes('100 %')));
  demo.kill('SIGTERM');
  expect(await closed).toEqual([1, null]);
  expect(out).toBe('');
  expect(err).toContain('inferometer demo: stopped before the check\n');
  expect(readdirSync(join(cwd, 'data'))).toEqual([]);
});

it('a demo in which nobody was served does not pass its check', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'inferometer-demo-'));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  const main = join(import.meta.dirname, '../../src/main.ts');
  const args = [main, 'demo', '--once', '--seconds', '0'];
  const demo = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  demo.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  expect(await once(demo, 'close')).toEqual([1, null]);
  expect(out).toMatch(/search +got no answer: nothing to check/);
  expect(readdirSync(join(cwd, 'data'))).toEqual([]);
});

it('a demo whose reader leaves, as head does, leaves no process and no file behind', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'inferometer-demo-'));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  const main = join(import.meta.dirname, '../../src/main.ts');
  const demo = spawn(process.execPath, [main, 'demo'], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(demo, 'exit');
  await once(demo.stderr, 'data');
  const children = childrenOf(demo);
  onTestFinished(() => {
    for (const pid of children.filter((child) => existsSync(`/proc/${child}`))) process.kill(pid, 'SIGKILL');
  });
  expect(children).toHaveLength(3);
  demo.stderr.destroy();
  expect(await exited).toEqual([1, null]);
  expect(readdirSync(join(cwd, 'data'))).toEqual([]);
  expect(children.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
});

it('a demo that may not write where it stands says where and what to do', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'inferometer-demo-'));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  writeFileSync(join(cwd, 'data'), '');
  const { code, err } = await runCli(['demo', '--once'], { cwd });
  expect(code).toBe(1);
  expect(err).toMatch(/^inferometer: the demo keeps its books in \/[^\n]*; run it where you may write\n$/);
});
