// Whether a stream keeps its rhythm: the gaps between chunks as the engine wrote them and as the client saw them, with and without the gateway.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openRaw } from '#test/support/raw-http.ts';
import { startTestStack } from '#test/support/gateway.ts';
import type { GapSample } from './judge-chunk-gaps.ts';

/**
 * Streams `chunks` events, one every `everyMs`, `rounds` times straight to the client and as often through the gateway. The two take turns,
 * each going first in every other round, so that what the machine does meanwhile falls on both.
 */
export async function runChunkGaps(options: {
  readonly chunks: number;
  readonly everyMs: number;
  readonly rounds: number;
}): Promise<{ readonly direct: GapSample; readonly through: GapSample }> {
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
    const measure = async (sample: OpenSample, at: number): Promise<void> => {
      const cameAtMs = await readStream(at, key, options.chunks);
      compare(sample, { cameAtMs, sentAtMs, chunks: options.chunks });
    };
    const direct: OpenSample = { differencesMs: [], separate: 0 };
    const through: OpenSample = { differencesMs: [], separate: 0 };
    // The first streams of both ways only warm up what the others measure.
    const warmUp: OpenSample = { differencesMs: [], separate: 0 };
    for (const at of [gatewayPort, port]) await measure(warmUp, at);
    for (let round = 0; round < options.rounds; round += 1) {
      const turns = [() => measure(direct, port), () => measure(through, gatewayPort)];
      for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
    }
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

interface OpenSample {
  readonly differencesMs: number[];
  separate: number;
}

/** Adds a stream's gaps to a sample. */
function compare(
  sample: OpenSample,
  stream: { readonly cameAtMs: readonly number[]; readonly sentAtMs: readonly number[]; readonly chunks: number },
): void {
  const { cameAtMs, sentAtMs, chunks } = stream;
  for (let index = 1; index < chunks; index += 1) {
    const came = (cameAtMs[index] ?? 0) - (cameAtMs[index - 1] ?? 0);
    const sent = (sentAtMs[index] ?? 0) - (sentAtMs[index - 1] ?? 0);
    if (came > 0) sample.separate += 1;
    sample.differencesMs.push(Math.abs(came - sent));
  }
}
