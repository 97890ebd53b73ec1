// The two small programs that containers run beside the gateway: the health check and the demo's traffic.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';

const FOLDER = fileURLToPath(new URL('../../../config/compose/', import.meta.url));
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function start(script: string, args: readonly string[]) {
  const child = spawn(process.execPath, [FOLDER + script, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: {} });
  cleanups.push(() => child.kill('SIGKILL'));
  const output: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => output.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => output.push(text));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output: output.join('') }));
  return { child, ended };
}

describe('healthcheck.js', () => {
  test('a 200 is healthy', async () => {
    const url = await listen((_req, res) => res.end('{"status":"degraded"}'));
    expect(await start('healthcheck.js', [`${url}/readyz`]).ended).toEqual({ code: 0, output: '' });
  });

  test('a 503 is unhealthy, and the reason can be read in the container engine', async () => {
    const url = await listen((_req, res) => res.writeHead(503).end('{"status":"draining"}'));
    const { code, output } = await start('healthcheck.js', [`${url}/readyz`]).ended;
    expect(code).toBe(1);
    expect(output).toContain('answered 503: {"status":"draining"}');
  });

  test('nobody listening, and no address at all, are unhealthy', async () => {
    expect((await start('healthcheck.js', ['http://127.0.0.1:1/readyz']).ended).code).toBe(1);
    expect((await start('healthcheck.js', []).ended).code).toBe(1);
  });
});

describe('traffic.js', () => {
  test('three teams send chat requests with their keys until SIGTERM, which ends it cleanly', async () => {
    const seen = new Map<string, { model: string; stream: boolean }>();
    let heardAll: () => void;
    const allTeams = new Promise<void>((resolve) => {
      heardAll = resolve;
    });
    const url = await listen((req, res) => {
      void readBody(req).then((text) => {
        const { model, stream } = JSON.parse(text) as { model: string; stream: boolean };
        seen.set(`${req.method} ${req.url} ${req.headers.authorization}`, { model, stream });
        res.end('{}');
        if (seen.size === 3) heardAll();
      });
    });
    const { child, ended } = start('traffic.js', [url]);
    await allTeams;
    child.kill('SIGTERM');
    const { code, output } = await ended;
    expect(code).toBe(0);
    expect(JSON.parse(output.trim().split('\n').at(-1) ?? '')).toMatchObject({ refused: 0, left: 0 });
    expect(Object.fromEntries(seen)).toEqual({
      'POST /v1/chat/completions Bearer demo-search-0123456789': { model: 'llama-3.1-8b', stream: true },
      'POST /v1/chat/completions Bearer demo-support-0123456789': { model: 'llama-3.1-8b', stream: true },
      'POST /v1/chat/completions Bearer demo-research-0123456789': { model: 'mistral-nemo-12b', stream: false },
    });
  });

  test('a client that loses patience hangs up, and the traffic goes on', async () => {
    let hungUp: () => void;
    const oneLeft = new Promise<void>((resolve) => {
      hungUp = resolve;
    });
    const url = await listen((req, res) => {
      req.resume();
      res.once('close', () => hungUp());
    });
    const { child, ended } = start('traffic.js', [url, '1']);
    await oneLeft;
    child.kill('SIGTERM');
    const { code, output } = await ended;
    expect(code, output).toBe(0);
    expect((JSON.parse(output.trim().split('\n').at(-1) ?? '') as { left: number }).left).toBeGreaterThan(0);
  });
});

async function readBody(req: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of req.setEncoding('utf8')) text += chunk as string;
  return text;
}
