// Whether a stream keeps its rhythm: the gaps between chunks as the engine wrote them and as the client saw them, with and without the gateway.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openRaw } from '#test/support/raw-http.ts';
import { startTestStack } from '#test/support/gateway.ts';
import { readPercentile } from './watch-process.ts';

export interface GapResult {
  /** Chunks that reached the client in a packet of their own, of all. */
  readonly separate: number;
  readonly chunks: number;
  /** Milliseconds by which a gap differs from the engine's. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Streams `chunks` events, one every `everyMs`, straight and through the gateway. */
export async function runChunkGaps(options: { readonly chunks: number; readonly everyMs: number }): Promise<{
  readonly direct: GapResult;
  readonly through: GapResult;
}> {
  const sentAtMs: number[] = [];
  const server = createServer((req, res) => {
    req.resume();
    if (req.method !== 'POST') {
      res.end('{}');
      return;
    }
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    sentAtMs.length = 0;
    const timer = setInterval(() => {
      const number = sentAtMs.length;
      sentAtMs.push(performance.now());
      if (number < options.chunks) {
        res.write(`data: {"choices":[{"index":0,"delta":{"content":"#${number};"}}]}\n\n`);
        return;
      }
      clearInterval(timer);
      res.end('data: [DONE]\n\n');
    }, options.everyMs);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const upstreams = [{ url: `http://127.0.0.1:${port}`, name: 'fake-1' }];
  const deployment = { name: 'fake', models: ['fake'], engine: 'tensorrt-llm', gpu: 'H100-SXM', upstreams };
  const stack = await startTestStack({ engines: [], config: { deployments: [deployment] } });
  try {
    const key = stack.keys['search'] ?? '';
    const gatewayPort = Number(new URL(stack.gatewayUrl).port);
    // The first stream warms up what is measured in the second.
    await readStream(gatewayPort, key, options.chunks);
    const direct = compare(await readStream(port, key, options.chunks), sentAtMs, options.chunks);
    const through = compare(await readStream(gatewayPort, key, options.chunks), sentAtMs, options.chunks);
    return { direct, through };
  } finally {
    await stack.close();
    server.close();
    server.closeAllConnections();
  }
}

/** The instant at which each chunk came. */
async function readStream(port: number, key: string, chunks: number): Promise<number[]> {
  const body = '{"model":"fake","stream":true,"messages":[]}';
  const client = openRaw(
    port,
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const cameAtMs: number[] = [];
  client.socket.on('data', (piece) => {
    const nowMs = performance.now();
    for (const [, number] of piece.toString('latin1').matchAll(/#(\d+);/g)) cameAtMs[Number(number)] = nowMs;
  });
  await client.until('[DONE]');
  client.hangUp();
  if (cameAtMs.filter((atMs) => atMs > 0).length !== chunks) throw new Error('chunks are missing');
  return cameAtMs;
}

function compare(cameAtMs: readonly number[], sentAtMs: readonly number[], chunks: number): GapResult {
  const differences: number[] = [];
  let separate = 1;
  for (let index = 1; index < chunks; index += 1) {
    const came = (cameAtMs[index] ?? 0) - (cameAtMs[index - 1] ?? 0);
    const sent = (sentAtMs[index] ?? 0) - (sentAtMs[index - 1] ?? 0);
    if (came > 0) separate += 1;
    differences.push(Math.abs(came - sent));
  }
  return { separate, chunks, p50Ms: readPercentile(differences, 0.5), p99Ms: readPercentile(differences, 0.99) };
}
