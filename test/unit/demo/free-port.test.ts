import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { findFreePort } from '#src/demo/free-port.ts';

describe('a free port', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });
  const listenOn = async (port: number): Promise<number> => {
    const server = createServer().listen(port, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };

  it('is none that the system gives to outgoing connections or to who listens on port 0', async () => {
    for (let time = 0; time < 50; time += 1) {
      const port = await findFreePort();
      expect(port).toBeGreaterThanOrEqual(20_000);
      expect(port).toBeLessThan(32_768);
    }
    expect(await listenOn(await findFreePort())).toBeGreaterThan(0);
  });

  it('is the usual one where nobody listens there, and another where somebody does', async () => {
    const usual = await findFreePort();
    expect(await findFreePort(usual)).toBe(usual);
    await listenOn(usual);
    expect(await findFreePort(usual)).not.toBe(usual);
  });
});
