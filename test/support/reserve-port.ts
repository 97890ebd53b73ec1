// Ports for servers that a test ends and starts again. Not any free port: while its server is down, the system hands such a port to
// whoever connects somewhere. These lie below the range it hands out (32768 on Linux), and no two tests of a process get the same.
import { once } from 'node:events';
import { createServer } from 'node:net';

const LOWEST = 20_000;
const HIGHEST = 32_000;
const reserved = new Set<number>();

/** A loopback port that nothing listens on, reserved in this process. */
export async function reservePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (reserved.has(port) || !(await isFree(port))) continue;
    reserved.add(port);
    return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
