// A TCP proxy of our own between two programs under test: passes, delays, swallows, mutes, refuses, resets. Loopback only; knows no protocol.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * `pass`: as a wire. `delay`: every byte `delayMs` later, in order. `drop`: connections stay open, nothing arrives on either side.
 * `mute`: what the client says arrives, what the server says does not, so that replies are lost. `refuse`: no connection lives.
 */
export type LinkMode = 'pass' | 'delay' | 'drop' | 'mute' | 'refuse';

/** A connection that lost bytes must not go on as if it had not: it is reset when the mode that swallowed them ends. */
const SWALLOWS: ReadonlySet<LinkMode> = new Set(['drop', 'mute']);

/** One listening port that leads to one target, which may change. */
export class TcpProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #targetPort: number;
  #mode: LinkMode = 'pass';
  #delayMs = 0;

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => this.#accept(client));
  }

  /** Listens on a free port of 127.0.0.1. */
  static async start(targetPort: number): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TcpProxy(server, targetPort);
  }

  /** Connections open now. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Later connections lead to another port; present ones are reset, as a failover does it. */
  retarget(port: number): void {
    this.#targetPort = port;
    this.reset();
  }

  /** Changes what happens to bytes from now on; `delayMs` for `delay` alone. */
  setMode(mode: LinkMode, delayMs = 0): void {
    const lostBytes = SWALLOWS.has(this.#mode) && mode !== this.#mode;
    this.#mode = mode;
    this.#delayMs = mode === 'delay' ? delayMs : 0;
    if (lostBytes || mode === 'refuse') this.reset();
  }

  /** Resets every connection (RST), as a broken middlebox does. */
  reset(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.reset();
    await closed;
  }

  #accept(client: Socket): void {
    if (this.#mode === 'refuse') {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const server = connect({ port: this.#targetPort, host: '127.0.0.1', allowHalfOpen: true });
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const socket of pair) {
      socket.setNoDelay(true);
      socket.on('error', () => this.#end(pair));
      socket.on('close', () => this.#end(pair));
    }
    this.#pipe(client, server, () => this.#mode !== 'drop');
    this.#pipe(server, client, () => this.#mode !== 'drop' && this.#mode !== 'mute');
  }

  #end(pair: readonly [Socket, Socket]): void {
    if (!this.#pairs.delete(pair)) return;
    for (const socket of pair) if (!socket.destroyed) socket.resetAndDestroy();
  }

  /** Bytes keep their order: one sent while the link was slow is never overtaken by one sent after it was mended. */
  #pipe(from: Socket, to: Socket, arrives: () => boolean): void {
    let freeAtMs = 0;
    const later = (act: () => void) => {
      const nowMs = performance.now();
      freeAtMs = Math.max(freeAtMs, nowMs + this.#delayMs);
      if (freeAtMs <= nowMs) act();
      else setTimeout(() => !to.destroyed && act(), freeAtMs - nowMs);
    };
    from.on('data', (chunk) => {
      if (!arrives()) return;
      later(() => {
        if (to.write(chunk)) return;
        from.pause();
        to.once('drain', () => from.resume());
      });
    });
    from.on('end', () => arrives() && later(() => to.end()));
  }
}
