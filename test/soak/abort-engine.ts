// An engine that answers up to a stage and then waits to be hung up on, and says when that happened.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chatEvents } from '#test/support/fake-engine.ts';

/** How far an answer gets before its client leaves. */
export const STAGES = [
  'before-headers',
  'mid-stream',
  'after-usage',
  'after-done',
  'half-json',
  'half-forwarded',
  'stuck',
  'upload',
  'forwarded-upload',
] as const;
export type Stage = (typeof STAGES)[number];

const EVENTS = chatEvents(['one', 'two', 'three'], { usage: true });
const PARTS: Partial<Record<Stage, { readonly type: string; readonly bytes: string }>> = {
  'mid-stream': { type: 'text/event-stream', bytes: EVENTS.slice(0, 3).join('') },
  'after-usage': { type: 'text/event-stream', bytes: EVENTS.slice(0, -1).join('') },
  'after-done': { type: 'text/event-stream', bytes: EVENTS.join('') },
  'half-json': { type: 'application/json', bytes: '{"id":"half",' },
  'half-forwarded': { type: 'audio/mpeg', bytes: 'ID3 half' },
};

export interface AbortEngine {
  readonly url: string;
  /** Resolves when the request with this name has come. */
  asked(name: string): Promise<void>;
  /** Resolves with the instant (performance.now) at which the connection of the request with this name was gone. */
  lost(name: string): Promise<number>;
  /** Requests that came and are not lost yet. */
  readonly open: () => number;
  close(): Promise<void>;
}

/** Starts it on a free loopback port. Requests are named by the header x-abort and staged by x-stage. */
export async function startAbortEngine(): Promise<AbortEngine> {
  const events = new Map<string, PromiseWithResolvers<number>>();
  const find = (key: string): PromiseWithResolvers<number> => {
    const known = events.get(key);
    if (known !== undefined) return known;
    const made = Promise.withResolvers<number>();
    events.set(key, made);
    return made;
  };
  let open = 0;
  const server = createServer({ requestTimeout: 0 }, (req, res) => {
    const name = req.headers['x-abort'];
    const stage = req.headers['x-stage'] as Stage | undefined;
    if (typeof name !== 'string' || stage === undefined) {
      res.end('{}');
      return;
    }
    open += 1;
    res.once('close', () => {
      open -= 1;
      find(`lost ${name}`).resolve(performance.now());
    });
    req.on('error', () => {});
    req.on('data', () => stage === 'forwarded-upload' && find(`asked ${name}`).resolve(0));
    req.on('end', () => {
      find(`asked ${name}`).resolve(0);
      const part = PARTS[stage];
      if (part !== undefined) res.writeHead(200, { 'content-type': part.type }).write(part.bytes);
      if (stage !== 'stuck') return;
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      const piece = `data: {"choices":[]}${' '.repeat(65_536)}\n\n`;
      const fill = (): void => {
        while (!res.destroyed && res.write(piece));
        res.once('drain', fill);
      };
      fill();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: () => open,
    async asked(name) {
      await find(`asked ${name}`).promise;
      events.delete(`asked ${name}`);
    },
    async lost(name) {
      const atMs = await find(`lost ${name}`).promise;
      events.delete(`lost ${name}`);
      return atMs;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
