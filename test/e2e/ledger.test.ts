// `inferometer ledger` on the books of a real gateway: proved while it runs, caught when somebody reaches into the store, archived by day.
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { startTestStack, type TestStack } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';

let stack: TestStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

async function ask(running: TestStack, count: number, body: Record<string, unknown> = {}): Promise<void> {
  const send = async () => {
    const response = await fetch(`${running.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${running.keys['search']}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'llama-3.1-8b',
        messages: [{ role: 'user', content: 'hello' }],
        max_tokens: 20,
        ...body,
      }),
    });
    await response.text();
  };
  await Promise.all(Array.from({ length: count }, send));
}

const verify = async (running: TestStack) => {
  const { code, out, err } = await runCli(['ledger', 'verify', '--json', '--config', running.configPath]);
  return { code, err, result: JSON.parse(out === '' ? 'null' : out) };
};

describe('inferometer ledger', () => {
  it.each(['sqlite', 'redis'])('the books of a running gateway on %s are proved while it serves', async (kind) => {
    const options = kind === 'redis' ? { storeUrl: inject('redisUrl') } : {};
    stack = await startTestStack({ teams: ['search', 'ads'], ...options });
    await ask(stack, 12);
    await ask(stack, 6, { stream: true });
    await ask(stack, 2, { model: 'no-such-model' });
    await stack.settled(Date.now());
    const traffic = ask(stack, 6, { stream: true, max_tokens: 150 });
    const { code, err, result } = await verify(stack);
    await traffic;
    expect({ code, err, result }).toMatchObject({
      code: 0,
      err: '',
      result: { ok: true, differenceNanoUsd: '0', firstBroken: null },
    });
    expect(result.records).toBeGreaterThanOrEqual(18);
    expect(result.hours).toBeGreaterThanOrEqual(1);
    // Stopped and started again: the journal goes on, and so do its links.
    await stack.gateway().end(10_000);
    await stack.restart();
    await ask(stack, 3);
    await stack.settled(Date.now());
    expect(await verify(stack)).toMatchObject({ code: 0, result: { ok: true, firstBroken: null } });
  });

  it('a cost changed in the database is found, named, and told by the exit code', async () => {
    stack = await startTestStack();
    await ask(stack, 5);
    await stack.settled(Date.now());
    await stack.gateway().end(10_000);
    const db = new DatabaseSync(join(stack.dataDir, 'inferometer.db'));
    db.exec("UPDATE rollups SET cost_nano_usd = cost_nano_usd - 1 WHERE granularity = 'hour' AND cost_nano_usd > 0");
    db.close();
    const { code, result } = await verify(stack);
    expect(code).toBe(1);
    expect(result).toMatchObject({ ok: false, firstBroken: { kind: 'cell' } });
    expect(BigInt(result.differenceNanoUsd)).toBeGreaterThan(0n);
    const told = await runCli(['ledger', 'verify', '--config', stack.configPath]);
    expect(told.code).toBe(1);
    expect(told.out).toContain('First broken: cell');
    await stack.restart();
  });

  it('a day is refused while it is not settled, and exported in part holds what the API says', async () => {
    const archive = `/tmp/inferometer-archive-${randomBytes(6).toString('hex')}`;
    stack = await startTestStack();
    await ask(stack, 4);
    await stack.settled(Date.now());
    const day = new Date().toISOString().slice(0, 10);
    const common = ['ledger', 'export', '--day', day, '--config', stack.configPath];
    const refused = await runCli([...common, '--out', archive]);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(`${day} is not settled yet`);
    expect(refused.err.trim().split('\n')).toHaveLength(1);
    const folder = join(stack.dataDir, 'archive');
    const { code, out } = await runCli([...common, '--partial', '--out', folder, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out).days[0]).toMatchObject({ day, complete: false, records: 4 });
    expect(readdirSync(folder).toSorted()).toEqual([`manifest-${day}.json`, `records-${day}.ndjson`]);
    const lines = readFileSync(join(folder, `records-${day}.ndjson`), 'utf8')
      .trimEnd()
      .split('\n');
    const { requests } = await stack.admin<{ requests: unknown[] }>('/api/requests?limit=10');
    expect(lines.map((line) => JSON.parse(line))).toEqual(requests.toReversed());
  });

  it.each([
    [['export'], '--day'],
    [['export', '--day', 'today'], '--day'],
    [['export', '--day', '2026-01-01', '--format', 'xml'], '--format'],
    [['verify', '--from', '2026-02-01', '--to', '2026-01-01'], '--from'],
    [['adjust', '--reason', 'x'], '--team'],
    [['adjust', '--team', 'search', '--amount', 'much', '--reason', 'x', '--author', 'a'], '--amount'],
  ])('%j is bad usage and says what', async (args, said) => {
    stack ??= await startTestStack();
    const { code, err } = await runCli(['ledger', ...args], { env: { INFEROMETER_CONFIG: stack.configPath } });
    expect(code).toBe(2);
    expect(err).toContain(said);
  });
});
