// `inferometer ledger rebuild` as an operator needs it: Redis came back empty, the journals bring the books back, gateways go on by themselves.
import { rmSync } from 'node:fs';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';
import { type RedisServer, startRedis } from '#test/support/redis-server.ts';
import { runCli } from '#test/support/run-cli.ts';

let stack: TestStack | undefined;
let redis: RedisServer | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
  await redis?.stop();
  redis = undefined;
});

async function ask(running: TestStack, team: string, count: number): Promise<void> {
  const send = async (index: number) => {
    const response = await fetch(`${running.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${running.keys[team]}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'llama-3.1-8b',
        messages: [{ role: 'user', content: 'how much does this cost?' }],
        max_tokens: 30,
        stream: index % 2 === 0,
      }),
    });
    await response.text();
  };
  await Promise.all(Array.from({ length: count }, (_, index) => send(index)));
}

const cli = (running: TestStack, ...args: string[]) => runCli([...args, '--config', running.configPath]);

const DAY_MS = 86_400_000;
const dayAt = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10);

/** A report whose period does not move with the clock, without the moment it was made and how long ago the last window was frozen. */
async function readReport(running: TestStack): Promise<string> {
  const period = ['--from', dayAt(-2), '--to', dayAt(2)];
  const { code, out } = await cli(running, 'report', '--group-by', 'team,project,model,key', ...period, '--json');
  expect(code).toBe(0);
  return out
    .replace(/"generatedAt": "[^"]*"/, '"generatedAt": ""')
    .replace(/"unfrozenSeconds": \d+/, '"unfrozenSeconds": 0');
}

describe('inferometer ledger rebuild', () => {
  it('an emptied Redis gets the same books again, byte for byte, and a second rebuild is refused', async () => {
    redis = await startRedis();
    stack = await startTestStack({ teams: ['search', 'ads'], storeUrl: redis.url });
    await ask(stack, 'search', 9);
    await ask(stack, 'ads', 6);
    await stack.settled(Date.now());
    // Stopped, so that no idle second stands between the two reports.
    await stack.gateway().end(10_000);
    const before = await readReport(stack);
    expect(JSON.parse(before).rows).toHaveLength(2);
    const recordsBefore = await cli(stack, 'ledger', 'verify', '--json');
    const client = new Redis(redis.url);
    await client.flushall();
    client.disconnect();
    expect(JSON.parse(await readReport(stack)).rows).toEqual([]);
    const { code, out, err } = await cli(stack, 'ledger', 'rebuild', '--json');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({ records: 15, complete: true, missingJournals: [], verified: { ok: true } });
    expect(await readReport(stack)).toBe(before);
    expect(await cli(stack, 'ledger', 'verify', '--json')).toEqual(recordsBefore);
    const again = await cli(stack, 'ledger', 'rebuild');
    expect(again.code).toBe(1);
    expect(again.err).toContain('not empty');
    await stack.restart();
  });

  it('a running gateway notices, begins nothing new, and goes on where it was once the books are back', async () => {
    redis = await startRedis();
    const { port } = redis;
    stack = await startTestStack({ teams: ['search'], storeUrl: redis.url });
    const running = stack;
    await ask(running, 'search', 8);
    await running.settled(Date.now());
    await redis.stop();
    redis = await startRedis([], port);
    const readiness = () =>
      fetch(`${running.adminUrl}/readyz`).then(
        (res) => res.json() as Promise<{ status: string; checks: { store: string } }>,
      );
    await until('the loss is noticed', async () => (await readiness()).checks.store.includes('ledger rebuild'));
    expect((await readiness()).status).toBe('degraded');
    // Requests go on; what they cost waits.
    await ask(running, 'search', 5);
    const { code, err, out } = await cli(running, 'ledger', 'rebuild');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain('The ledger adds up');
    await until('posting goes on', async () => (await readiness()).status === 'ready');
    await ask(running, 'search', 2);
    await running.settled(Date.now());
    const report = await running.admin<{ rows: { requests: number }[]; totals: { differenceNanoUsd: string } }>(
      '/api/reports/chargeback?groupBy=team',
    );
    expect(report.rows).toMatchObject([{ team: 'search', requests: 15 }]);
    expect(report.totals.differenceNanoUsd).toBe('0');
    const verified = await cli(running, 'ledger', 'verify', '--json');
    expect(JSON.parse(verified.out)).toMatchObject({ ok: true, records: 15, differenceNanoUsd: '0' });
  });

  it('a SQLite file that was deleted is rebuilt the same way', async () => {
    stack = await startTestStack({ teams: ['search', 'ads'] });
    await ask(stack, 'search', 5);
    await ask(stack, 'ads', 3);
    await stack.settled(Date.now());
    await stack.gateway().end(10_000);
    const before = await readReport(stack);
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${stack.dataDir}/inferometer.db${suffix}`, { force: true });
    const { code, err } = await cli(stack, 'ledger', 'rebuild');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(await readReport(stack)).toBe(before);
    await stack.restart();
    await ask(stack, 'ads', 2);
    await stack.settled(Date.now());
    expect((await cli(stack, 'ledger', 'verify')).code).toBe(0);
  });

  it('a gateway that starts while the books are gone serves, says why it settles nothing, and settles once they are rebuilt', async () => {
    stack = await startTestStack({ teams: ['search'] });
    const running = stack;
    await ask(running, 'search', 4);
    await running.settled(Date.now());
    await running.gateway().end(10_000);
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${running.dataDir}/inferometer.db${suffix}`, { force: true });
    await running.restart();
    const readiness = () => fetch(`${running.adminUrl}/readyz`);
    await until('it serves', async () => (await readiness()).status === 200);
    expect(await (await readiness()).json()).toMatchObject({
      status: 'degraded',
      checks: { store: expect.stringContaining('ledger rebuild') as string },
    });
    await ask(running, 'search', 3);
    expect((await cli(running, 'ledger', 'rebuild')).code).toBe(0);
    await until(
      'posting goes on',
      async () => ((await (await readiness()).json()) as { status: string }).status === 'ready',
    );
    await running.settled(Date.now());
    const report = await running.admin<{ rows: { requests: number }[]; totals: { differenceNanoUsd: string } }>(
      '/api/reports/chargeback?groupBy=team',
    );
    expect(report).toMatchObject({ rows: [{ team: 'search', requests: 7 }], totals: { differenceNanoUsd: '0' } });
  });
});
