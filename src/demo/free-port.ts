// A port to listen on: the usual one, or any free one where it is taken.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the ports that systems hand to outgoing connections and to whoever listens on port 0 (Linux from 32,768 on, others from 49,152): one
// of those may be given away again between being found and being listened on.
const LOWEST_PORT = 20_000;
const PORTS_END = 32_768;
const ATTEMPTS = 200;

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** `usual` if nothing listens there on loopback, else (and without one) any free port that the system gives to nobody by itself. */
export async function findFreePort(usual?: number): Promise<number> {
  if (usual !== undefined && (await isFree(usual))) return usual;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(LOWEST_PORT, PORTS_END);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free TCP port on 127.0.0.1 among ${ATTEMPTS} tried between ${LOWEST_PORT} and ${PORTS_END - 1}`);
}
