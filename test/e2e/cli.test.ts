// The command line as a user types it: exit codes, one-line errors, what `init` writes works, what `report` prints adds up.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, cpSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';

let stack: TestStack;
let dir: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'inferometer-cli-'));
  stack = await startTestStack({
    engines: [{ deployment: { baseline: { name: 'Transformers on the same GPU', usdPerMillionTokens: 0.5 } } }],
  });
  const response = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.keys['search']}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'llama-3.1-8b', messages: [{ role: 'user', content: 'hello' }], max_tokens: 50 }),
  });
  expect(response.status).toBe(200);
  await response.text();
  await stack.settled(Date.now());
});
afterAll(async () => {
  await stack?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('inferometer', () => {
  it('every command has help', async () => {
    for (const command of [
      [],
      ['serve'],
      ['init'],
      ['config', 'check'],
      ['demo'],
      ['simulate'],
      ['report'],
      ['calibrate'],
    ]) {
      const { code, out } = await runCli([...command, '--help']);
      expect(code, command.join(' ')).toBe(0);
      expect(out).toContain('Usage:');
    }
  });

  it('the help of report names what it refuses as a later version', async () => {
    const { out } = await runCli(['report', '--help']);
    expect(out.replace(/\s+/g, ' ')).toContain('reserved comes with a later version');
    expect(out.replace(/\s+/g, ' ')).toContain('html and focus come with a later version');
  });

  it('bad usage exits 2 with one line saying what is wrong', async () => {
    for (const args of [
      ['frobnicate'],
      ['simulate', '--flavor', 'nope'],
      ['report', '--idle', 'nope', '--config', stack.configPath],
      ['report', '--timezone', 'Asia/Kolkata', '--config', stack.configPath],
    ]) {
      const { code, err } = await runCli(args);
      expect(code, args.join(' ')).toBe(2);
      expect(err.trim().split('\n').length, err).toBeLessThanOrEqual(2);
    }
  });

  it('config check names every problem with its line and exits 2', async () => {
    const path = join(dir, 'bad.yaml');
    writeFileSync(
      path,
      'server: { port: banana }\nprices: []\ndeployments:\n  - { name: a, models: [m], engine: vlm, gpu: H100-SXM, gpusPerReplica: 1, upstreams: [] }\nunknownKey: 1\n',
    );
    const { code, out } = await runCli(['config', 'check', '--json', '--config', path]);
    expect(code).toBe(2);
    const result = JSON.parse(out);
    expect(result.ok).toBe(false);
    expect(result.problems.length).toBeGreaterThanOrEqual(4);
    for (const problem of result.problems)
      expect(problem).toMatchObject({
        file: path,
        line: expect.any(Number),
        path: expect.any(String),
        message: expect.any(String),
      });
  });

  it('serve refuses a bad config with exit 2', async () => {
    const { code, err } = await runCli(['serve', '--config', join(dir, 'missing.yaml')]);
    expect(code).toBe(2);
    expect(err).toContain('missing.yaml');
  });

  it('init probes a running engine and writes a config that passes the check', async () => {
    const path = join(dir, 'init', 'inferometer.yaml');
    const args = [
      'init',
      '--upstream',
      stack.simulators[0]?.url ?? '',
      '--gpu',
      'H100-SXM',
      '--gpus',
      '1',
      '--usd-per-gpu-hour',
      '2.50',
      '--config',
      path,
    ];
    const { code, out, err } = await runCli(args);
    expect(err + out, err).toContain('curl');
    expect(code).toBe(0);
    expect(readFileSync(path, 'utf8')).toContain('tensorrt-llm');
    expect((await runCli(['config', 'check', '--config', path])).code).toBe(0);
    expect((await runCli(args)).code, 'an existing file is not overwritten').not.toBe(0);
  });

  it('the README’s way from a fresh clone to a config for an engine works as it is written', async () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const line = /^npx inferometer (init .*)$/m.exec(readme)?.[1] ?? '';
    expect(line).toContain('http://trt-1:8000');
    const clone = join(dir, 'clone');
    cpSync(new URL('../../config', import.meta.url), join(clone, 'config'), { recursive: true });
    const args = line.replace('http://trt-1:8000', stack.simulators[0]?.url ?? '').split(' ');
    const { code, err } = await runCli(args, { cwd: clone });
    expect(err).toBe('');
    expect(code).toBe(0);
    const checked = await runCli(['config', 'check', '--config', 'config/inferometer.yaml'], { cwd: clone });
    expect(checked.out).toContain('is valid: 1 deployment');
  });

  it('init against nothing exits 1 and says so', async () => {
    const { code, err } = await runCli([
      'init',
      '--upstream',
      'http://127.0.0.1:9',
      '--gpu',
      'H100-SXM',
      '--gpus',
      '1',
      '--usd-per-gpu-hour',
      '2.50',
      '--config',
      join(dir, 'none.yaml'),
    ]);
    expect(code).toBe(1);
    expect(err).toContain('127.0.0.1:9');
  });

  it('report prints JSON whose totals add up, CSV whose totals equal the capacity, and a table', async () => {
    const json = await runCli(['report', '--json', '--config', stack.configPath, '--group-by', 'team,model']);
    expect(json.err).toBe('');
    const report = JSON.parse(json.out);
    expect(report.schema).toBe('inferometer.chargeback/1');
    expect(report.totals.differenceNanoUsd).toBe('0');
    expect(report.rows[0]).toMatchObject({
      team: 'search',
      model: 'llama-3.1-8b',
      requests: 1,
      costCenter: 'cc-search',
    });
    expect(report.savings[0]).toMatchObject({ model: 'llama-3.1-8b', baselineUsd: '0.5' });

    const csv = await runCli(['report', '--format', 'csv', '--config', stack.configPath]);
    expect(csv.code).toBe(0);
    const [header, ...lines] = csv.out.trim().split(/\r?\n/);
    const totalColumn = header?.split(',').indexOf('totalUsd') ?? -1;
    expect(lines.reduce((sum, line) => sum + Number(line.split(',')[totalColumn]), 0)).toBeGreaterThan(0);
    const table = await runCli(['report', '--config', stack.configPath]);
    expect(table.out).toContain('search');
    expect(table.out).not.toContain('\u001B[');
  });

  it('report --wait exits 1 when the period cannot settle in time', async () => {
    const { code } = await runCli([
      'report',
      '--json',
      '--wait',
      '1s',
      '--config',
      stack.configPath,
      '--from',
      '2026-11-01',
      '--to',
      '2026-12-31',
    ]);
    expect(code).toBe(1);
  });

  it('a reader that has seen enough is no failure; a full disk is, said in one line', async () => {
    const check = async (stdout: 'pipe' | number) => {
      const bin = join(import.meta.dirname, '..', '..', 'bin', 'inferometer.js');
      const child = spawn(process.execPath, [bin, 'config', 'check', '--config', stack.configPath], {
        stdio: ['ignore', stdout, 'pipe'],
      });
      child.stdout?.destroy();
      let err = '';
      child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
      const [code] = await once(child, 'close');
      return { code, err };
    };
    expect(await check('pipe')).toEqual({ code: 0, err: '' });
    const full = openSync('/dev/full', 'w');
    try {
      expect(await check(full)).toEqual({ code: 1, err: 'inferometer: cannot write the answer: ENOSPC\n' });
    } finally {
      closeSync(full);
    }
  });

  it('what this version does not deliver says so with exit 2', async () => {
    const { code, err } = await runCli(['what-if']);
    expect(code).toBe(2);
    expect(err).toContain('not part of this version');
  });
});
