// Corrections and closed months from the command line, as finance uses them, on the books of a running gateway.
import { afterEach, describe, expect, inject, it } from 'vitest';
import { startTestStack, type TestStack } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';

let stack: TestStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

async function ask(running: TestStack, team: string, count: number): Promise<void> {
  const send = async () => {
    const response = await fetch(`${running.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${running.keys[team]}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'llama-3.1-8b', messages: [{ role: 'user', content: 'hello' }], max_tokens: 20 }),
    });
    await response.text();
  };
  await Promise.all(Array.from({ length: count }, send));
}

interface Report {
  readonly rows: readonly { team: string; costNanoUsd: string; totalNanoUsd: string }[];
  readonly corrections: readonly { team: string; amountNanoUsd: string; reason: string; author: string }[];
  readonly pools: readonly { pendingNanoUsd: string }[];
  readonly totals: Readonly<
    Record<'capacityNanoUsd' | 'unsharedNanoUsd' | 'pendingNanoUsd' | 'unmeteredNanoUsd', string>
  >;
}

describe.each(['sqlite', 'redis'])('finance on %s', (kind) => {
  it('moves money with a reason and an author, once, and the bill stays what it is', async () => {
    const store = kind === 'redis' ? { storeUrl: inject('redisUrl') } : {};
    stack = await startTestStack({ teams: ['search', 'ads'], config: { retention: { archive: '' } }, ...store });
    const running = stack;
    const cli = (...args: string[]) => runCli([...args, '--config', running.configPath]);
    await ask(running, 'search', 5);
    await ask(running, 'ads', 3);
    await running.settled(Date.now());
    const adjust = ['ledger', 'adjust', '--team', 'ads', '--amount', '-0.000001', '--against', 'search'];
    const why = ['--reason', 'wrong key in October', '--author', 'Ada Lovelace', '--id', 'ticket-1'];
    expect(await cli(...adjust, ...why)).toMatchObject({ code: 0, err: '', out: expect.stringContaining('Booked') });
    expect(await cli(...adjust, ...why)).toMatchObject({ code: 0, out: expect.stringContaining('Already booked') });
    const other = await cli('ledger', 'adjust', '--team', 'ads', '--amount', '7', ...why);
    expect(other).toMatchObject({ code: 1, err: expect.stringContaining('ticket-1') });
    const { out } = await cli('report', '--group-by', 'team', '--json');
    const report = JSON.parse(out) as Report;
    expect(report.corrections).toMatchObject([
      { team: 'ads', amountNanoUsd: '-1000', reason: 'wrong key in October', author: 'Ada Lovelace' },
      { team: 'search', amountNanoUsd: '1000' },
    ]);
    const { capacityNanoUsd, unsharedNanoUsd, pendingNanoUsd, unmeteredNanoUsd } = report.totals;
    const rows = report.rows.reduce((sum, row) => sum + BigInt(row.totalNanoUsd), 0n);
    expect(rows + BigInt(unsharedNanoUsd) + BigInt(pendingNanoUsd) + BigInt(unmeteredNanoUsd)).toBe(
      BigInt(capacityNanoUsd),
    );
    const csv = await cli('report', '--group-by', 'team', '--format', 'csv');
    expect(csv.out.split('\r\n').filter((line) => line.startsWith('correction,'))).toHaveLength(2);
    expect((await cli('report', '--group-by', 'team')).out).toContain('wrong key in October (Ada Lovelace');
    expect((await cli('ledger', 'adjust', '--list')).out).toContain('ticket-1');
    expect(await cli('ledger', 'verify')).toMatchObject({ code: 0 });
  });

  it('closes a month that is over, refuses one that is not, and says why', async () => {
    const store = kind === 'redis' ? { storeUrl: inject('redisUrl') } : {};
    stack = await startTestStack({ config: { retention: { archive: '' } }, ...store });
    const running = stack;
    const cli = (...args: string[]) => runCli([...args, '--config', running.configPath]);
    await ask(running, 'search', 2);
    await running.settled(Date.now());
    const now = new Date();
    const month = (offset: number) =>
      new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset, 1)).toISOString().slice(0, 7);
    expect(await cli('month', 'close', month(0))).toMatchObject({
      code: 1,
      err: expect.stringContaining('not settled'),
    });
    expect(await cli('month', 'close', 'October')).toMatchObject({ code: 2, err: expect.stringContaining('2026-10') });
    expect(await cli('month', 'close', month(-1), '--author', 'Ada')).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringContaining(`${month(-1)} is closed`),
    });
    const again = await cli('month', 'close', month(-1), '--json');
    expect(JSON.parse(again.out)).toMatchObject({ closed: false, author: 'Ada', writtenOffNanoUsd: '0' });
    const first = await cli('report', '--month', month(-1), '--json');
    expect(JSON.parse(first.out)).toMatchObject({
      periodStatus: 'closed',
      ledgerHash: JSON.parse(again.out).ledgerHash,
    });
    await ask(running, 'search', 2);
    await running.settled(Date.now());
    expect((await cli('report', '--month', month(-1), '--json')).out).toBe(first.out);
    const late = ['--team', 'search', '--amount', '3', '--month', month(-1), '--reason', 'r', '--author', 'a'];
    expect(await cli('ledger', 'adjust', ...late)).toMatchObject({ code: 0 });
    expect((await cli('report', '--month', month(-1), '--json')).out).toBe(first.out);
    expect(await cli('ledger', 'verify')).toMatchObject({ code: 0 });
  });
});
