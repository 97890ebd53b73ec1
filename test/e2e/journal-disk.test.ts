// The rows of the failure tables about the journal's disk: full, read-only, and what becomes of the books when it is well again.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';
import { createSmallDisk, type SmallDisk } from '#test/support/small-disk.ts';
import { askWhole, expectWholeBooks } from '#test/support/whole-books.ts';

let stack: TestStack | undefined;
let disk: SmallDisk | undefined;
afterEach(async () => {
  await stack?.close();
  disk?.close();
  stack = undefined;
  disk = undefined;
});

async function readGauge(running: TestStack, name: string): Promise<number> {
  const text = await (await fetch(`${running.adminUrl}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

async function readReady(url: string): Promise<{ status: number; journal: unknown }> {
  const response = await fetch(`${url}/readyz`);
  const { checks } = (await response.json()) as { checks: { journal: unknown } };
  return { status: response.status, journal: checks.journal };
}

interface Report {
  settledThrough: string | null;
  totals: { differenceNanoUsd: string };
}

describe('the disk of the journal', () => {
  it('full: requests go on, not ready, at risk, windows still settle; with room again everything is journaled, and a kill loses and doubles nothing', async () => {
    disk = createSmallDisk(512 * 1024);
    stack = await startTestStack({ config: { journal: { dir: disk.dir }, settlement: { horizon: '1s' } } });
    const ids = [await askWhole(stack)];
    await until('it settled', async () => (await readGauge(stack as TestStack, 'inferometer_journal_pending')) === 0);
    expect(await readGauge(stack, 'inferometer_journal_lines_at_risk')).toBe(0);

    disk.fill(stack.gateway().pid);
    const filledAtMs = Date.now();
    for (let i = 0; i < 5; i += 1) ids.push(await askWhole(stack));
    expect(await readGauge(stack, 'inferometer_journal_lines_at_risk')).toBeGreaterThanOrEqual(5);
    for (const url of [stack.gatewayUrl, stack.adminUrl]) {
      expect(await readReady(url)).toEqual({ status: 503, journal: 'not writable' });
    }
    const running = stack;
    await until('windows after the disk was full are settled', async () => {
      const { settledThrough } = await running.admin<Report>('/api/reports/chargeback');
      return settledThrough !== null && Date.parse(settledThrough) > filledAtMs + 1000;
    });

    disk.empty(stack.gateway().pid);
    await until(
      'nothing is at risk',
      async () => (await readGauge(running, 'inferometer_journal_lines_at_risk')) === 0,
    );
    await until('it is ready', async () => (await readReady(running.adminUrl)).status === 200);
    ids.push(await askWhole(stack));
    process.kill(stack.gateway().pid, 'SIGKILL');
    await stack.gateway().end(1000);
    await stack.restart();
    await expectWholeBooks(stack, ids);
    expect((await runCli(['ledger', 'verify', '--config', stack.configPath])).code).toBe(0);
  });

  it('full until the end: SIGTERM says what could not be kept and exits 1, and the books stay balanced', async () => {
    disk = createSmallDisk(512 * 1024);
    stack = await startTestStack({ config: { journal: { dir: disk.dir }, settlement: { horizon: '1s' } } });
    disk.fill(stack.gateway().pid);
    await askWhole(stack);
    expect(await stack.gateway().end(20_000)).toBe(1);
    disk.empty(process.pid);
    await stack.restart();
    await stack.settled(Date.now());
    const report = await stack.admin<Report>('/api/reports/chargeback?groupBy=team');
    expect(report.totals.differenceNanoUsd).toBe('0');
    expect((await runCli(['ledger', 'verify', '--config', stack.configPath])).code).toBe(0);
  });

  it('not a directory, or read-only: the start is refused in one line that names it', async () => {
    stack = await startTestStack();
    const dir = join(stack.dataDir, 'read-only');
    mkdirSync(dir);
    const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', dir]).status === 0;
    // Whoever may not mount may not write into a file either.
    if (!isMounted) {
      rmSync(dir, { recursive: true });
      writeFileSync(dir, '');
    }
    try {
      const refused = await startRefused(stack, dir);
      expect(refused.code).not.toBe(0);
      expect(refused.err.trim().split('\n')).toHaveLength(1);
      expect(refused.err).toContain(dir);
    } finally {
      if (isMounted) spawnSync('umount', ['--lazy', dir]);
    }
  });
});

async function startRefused(running: TestStack, dir: string) {
  const path = join(running.dataDir, 'refused.yaml');
  const server = { host: '127.0.0.1', port: 0 };
  const config = JSON.parse(readFileSync(running.configPath, 'utf8')) as { admin: object };
  writeFileSync(path, JSON.stringify({ ...config, server, admin: { ...config.admin, port: 0 }, journal: { dir } }));
  return await runCli(['serve', '--config', path]);
}
