// A port to listen on: the usual one, or any free one where it is taken.
import { createServer } from 'node:net';

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      const found = typeof address === 'object' && address !== null ? address.port : null;
      server.close(() => resolve(found));
    });
  });
}

/** `usual` if nothing listens there on loopback, else a port the system chose. */
export async function findFreePort(usual: number): Promise<number> {
  const port = (await tryPort(usual)) ?? (await tryPort(0));
  if (port === null) throw new Error('no free TCP port on 127.0.0.1');
  return port;
}
