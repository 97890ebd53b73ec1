// HTTP as bytes: what no client library would send, and everything that came back.
import { connect, type Socket } from 'node:net';

export interface RawExchange {
  /** Everything received so far, one character per byte. */
  text(): string;
  write(bytes: string | Buffer): void;
  /** Resolves once `part` has come; rejects when the connection ended without it. */
  until(part: string): Promise<void>;
  /** Resolves with everything that came when the connection has ended, whoever ended it. */
  readonly closed: Promise<string>;
  isClosed(): boolean;
  /** Sends no more; the other side may go on. */
  halfClose(): void;
  hangUp(): void;
  pause(): void;
  readonly socket: Socket;
}

/** Connects to a loopback port and writes `bytes` as they are (strings as latin1). */
export function openRaw(port: number, bytes: string | Buffer): RawExchange {
  const toBytes = (data: string | Buffer) => (typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let received = '';
  let isClosed = false;
  let wake = (): void => {};
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    wake();
  });
  socket.on('error', () => {});
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => {
      isClosed = true;
      wake();
      resolve(received);
    });
  });
  socket.write(toBytes(bytes));
  return {
    socket,
    closed,
    isClosed: () => isClosed,
    text: () => received,
    write: (data) => void socket.write(toBytes(data)),
    async until(part) {
      while (!received.includes(part)) {
        if (isClosed) throw new Error(`the connection ended without ${JSON.stringify(part)}: ${received}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    halfClose: () => void socket.end(),
    hangUp: () => void socket.destroy(),
    pause: () => void socket.pause(),
  };
}

/** Sends bytes and returns all that comes until the other side closes; `connection: close` is the sender's to ask for. */
export function sendRaw(port: number, bytes: string | Buffer): Promise<string> {
  return openRaw(port, bytes).closed;
}
