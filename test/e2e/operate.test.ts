// Operating the product: stopping, reloading, refusing what would harm the books, saying how it is.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { ensureDebianProgram } from '#test/support/install-debian.ts';
import { type TestStack, startTestStack, until } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';

let stack: TestStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

interface ConfigFile {
  teams: { name: string; keys: { key: string; name: string }[] }[];
  prices: { usdPerGpuHour: number; from: string; name: string; gpu: string }[];
}

function editConfig(running: TestStack, edit: (config: ConfigFile) => void): void {
  const config = JSON.parse(readFileSync(running.configPath, 'utf8')) as ConfigFile;
  edit(config);
  writeFileSync(running.configPath, JSON.stringify(config, null, 2));
}

function chat(running: TestStack, key: string, body: Record<string, unknown> = {}): Promise<Response> {
  return fetch(`${running.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      messages: [{ role: 'user', content: 'hello' }],
      max_tokens: 5,
      ...body,
    }),
  });
}

async function readyz(
  url: string,
): Promise<{ status: number; body: { status: string; checks: Record<string, unknown> } }> {
  const response = await fetch(`${url}/readyz`);
  return {
    status: response.status,
    body: (await response.json()) as { status: string; checks: Record<string, unknown> },
  };
}

describe('operating the gateway', () => {
  it('SIGTERM lets a stream in flight end, posts everything and exits 0', async () => {
    stack = await startTestStack();
    const response = await chat(stack, stack.keys['search'] ?? '', { stream: true, max_tokens: 150, ignore_eos: true });
    expect(response.status).toBe(200);
    const ended = stack.gateway().end(15_000);
    const text = await response.text();
    expect(text).toContain('[DONE]');
    expect(await ended).toBe(0);
    const report = await runCli(['report', '--json', '--config', stack.configPath]);
    const { rows, totals, pools } = JSON.parse(report.out);
    expect(rows[0]).toMatchObject({ team: 'search', requests: 1, failedRequests: 0 });
    expect(totals.differenceNanoUsd).toBe('0');
    expect(pools[0].pendingNanoUsd).toBe('0');
    await stack.restart();
  });

  it('SIGHUP takes a new team over without cutting a stream; a bad file is refused and the old one stays', async () => {
    stack = await startTestStack();
    const running = stack;
    const streaming = (
      await chat(running, running.keys['search'] ?? '', { stream: true, max_tokens: 300, ignore_eos: true })
    ).text();
    const key = 'a-new-key-of-a-new-team';
    editConfig(running, (config) => config.teams.push({ name: 'newcomer', keys: [{ key, name: 'first' }] }));
    expect((await chat(running, key)).status).toBe(401);
    process.kill(running.gateway().pid, 'SIGHUP');
    await until('the new team is let in', async () => (await chat(running, key)).status === 200);
    expect(await streaming).toContain('[DONE]');
    writeFileSync(running.configPath, 'server: { port: banana }');
    process.kill(running.gateway().pid, 'SIGHUP');
    await until('the refusal shows', async () => {
      const metrics = await (await fetch(`${running.adminUrl}/metrics`)).text();
      return metrics.includes('inferometer_config_last_reload_successful 0');
    });
    expect((await chat(running, key)).status).toBe(200);
  });

  it('a back-dated price is refused at start, and a settled price cannot be changed', async () => {
    stack = await startTestStack();
    const running = stack;
    await running.settled(Date.now());
    await running.gateway().end(10_000);
    const good = readFileSync(running.configPath, 'utf8');
    editConfig(running, (config) => ((config.prices[0] as { usdPerGpuHour: number }).usdPerGpuHour = 1.25));
    const { code, err } = await runCli(['serve', '--config', running.configPath]);
    expect(code).toBe(2);
    expect(err).toContain('h100');
    writeFileSync(running.configPath, good);
    await running.restart();
  });

  it.each([1, 2])(
    'after a refused change of a price every place shows the price that is charged, with %d workers',
    async (workers) => {
      stack = await startTestStack({ server: { workers } });
      const running = stack;
      const metric = async (name: string): Promise<string | undefined> =>
        new RegExp(`^inferometer_${name}(?:{deployment="d0"})? (.+)$`, 'm').exec(
          await (await fetch(`${running.adminUrl}/metrics`)).text(),
        )?.[1];
      const estimate = async (): Promise<string | null> => {
        const answer = await chat(running, running.keys['search'] ?? '');
        await answer.text();
        return answer.headers.get('x-inferometer-cost-estimate-usd');
      };
      const before = await estimate();
      expect(before).toMatch(/^0\.0*[1-9]/);
      editConfig(running, (config) => ((config.prices[0] as { usdPerGpuHour: number }).usdPerGpuHour = 250));
      process.kill(running.gateway().pid, 'SIGHUP');
      await until('the refusal shows', async () => (await metric('config_last_reload_successful')) === '0');
      expect(await metric('price_usd_per_gpu_hour')).toBe('2.5');
      const { deployments } = await running.admin<{ deployments: { usdPerHour: string }[] }>('/api/deployments');
      expect(deployments[0]?.usdPerHour).toBe('2.5');
      expect(Number(await estimate())).toBeLessThan(10 * Number(before));
    },
  );

  it('readiness tells ready, and degraded when the engine is gone, on both ports', async () => {
    stack = await startTestStack();
    const running = stack;
    for (const url of [running.gatewayUrl, running.adminUrl]) {
      expect(await readyz(url)).toMatchObject({
        status: 200,
        body: { status: 'ready', checks: { store: 'ok', journal: 'ok' } },
      });
    }
    await running.simulators[0]?.close();
    await until('degraded', async () => (await readyz(running.adminUrl)).body.status === 'degraded');
    expect((await readyz(running.adminUrl)).status).toBe(200);
    expect((await chat(running, running.keys['search'] ?? '')).status).toBe(503);
  });

  it('the metrics of a gateway that worked pass promtool', async () => {
    stack = await startTestStack();
    await (await chat(stack, stack.keys['search'] ?? '')).text();
    await (await chat(stack, stack.keys['search'] ?? '', { stream: true })).text();
    await stack.settled(Date.now());
    const text = await (await fetch(`${stack.adminUrl}/metrics`)).text();
    const promtool = ensureDebianProgram({ command: 'promtool', debianPackage: 'prometheus' });
    const complaints = spawnSync(promtool, ['check', 'metrics'], { input: text, encoding: 'utf8' })
      .stderr.trim()
      .split('\n');
    // The contract fixes this name; base units are promtool's only wish.
    expect(complaints).toEqual([
      'inferometer_engine_profile_milliseconds use base unit "seconds" instead of "milliseconds"',
    ]);
    const value = (name: string) =>
      Number(new RegExp(`^${name}\\{[^}]*team="search"[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1]);
    expect(value('inferometer_requests_total')).toBe(2);
    expect(value('inferometer_cost_usd_total')).toBeGreaterThan(0);
  });
});
