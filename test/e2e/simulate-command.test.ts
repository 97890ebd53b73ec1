// `inferometer simulate` and `demo` as somebody types them wrongly, or where something is in the way.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { runCli } from '#test/support/run-cli.ts';

it.each([
  ['simulate', '--model', ''],
  ['simulate', '--host', ''],
  ['simulate', '--port', ''],
  ['simulate', '--port', '65536'],
  ['simulate', '--seed', '1.5'],
  ['demo', '--seed', 'x'],
  ['demo', '--seconds', '3601'],
])('%s %s %j is refused with exit 2 and one line that names the option', async (command, option, value) => {
  const { code, out, err } = await runCli([command, option, value], { limitMs: 10_000 });
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toMatch(/^inferometer: option '[^\n]*\n$/);
  expect(err).toContain(option);
});

it('a port that is taken is named in one line, HTTP’s, the prefill engine’s and gRPC’s alike', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  onTestFinished(() => void holder.close());
  const taken = String((holder.address() as AddressInfo).port);
  for (const ports of [
    ['--port', taken],
    ['--port', '0', '--prefill-port', taken],
    ['--port', '0', '--grpc-port', taken],
  ]) {
    const { code, out, err } = await runCli(['simulate', '--flavor', 'triton', ...ports], { limitMs: 10_000 });
    expect({ code, out, err }).toEqual({
      code: 1,
      out: '',
      err: `inferometer: 127.0.0.1:${taken} is taken: another program listens there; choose another port, or 0 for a free one\n`,
    });
  }
});
