// Requests to an engine as it may be: strict about fields, without some routes, without usage, failing in mid-stream.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { Pool } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { detectDialect } from '#src/calibrate/detect-dialect.ts';
import { type Dialect, type EngineLink, ProbeFailedError, ProbeRefusedError } from '#src/calibrate/engine-link.ts';
import { ProbeBench } from '#src/calibrate/probe-bench.ts';
import { PromptWriter } from '#src/calibrate/prompt-text.ts';
import { readProbeEvent } from '#src/calibrate/read-probe-event.ts';
import { sendProbe } from '#src/calibrate/send-probe.ts';

type Answer = (
  request: {
    readonly path: string;
    readonly body: Record<string, unknown>;
    readonly headers: IncomingMessage['headers'];
  },
  res: ServerResponse,
) => void;

let server: Server | undefined;
let pool: Pool | undefined;
afterEach(async () => {
  await pool?.destroy();
  server?.closeAllConnections();
  server?.close();
});

async function serve(answer: Answer, more: Partial<EngineLink> = {}): Promise<EngineLink> {
  server = createServer((req, res) => {
    let text = '';
    req.on('data', (piece: Buffer) => (text += piece.toString()));
    req.on('end', () => answer({ path: req.url ?? '', body: JSON.parse(text), headers: req.headers }, res));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return {
    dispatcher: pool,
    basePath: '',
    headers: {},
    model: 'm',
    engine: 'openai',
    acceptsStreamOptions: true,
    mayDrainStatistics: false,
    clock: { monotonicMs: () => performance.now() },
    requestTimeoutMs: 5000,
    ...more,
  };
}

const COMPLETIONS: Dialect = { route: 'completions', lengthFields: [], streamOptions: true };
const usage = { prompt_tokens: 9, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 4 } };
const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const sendStream = (res: ServerResponse, withUsage = true): void => {
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  res.write(event({ choices: [{ index: 0, delta: { role: 'assistant' } }] }));
  res.write(event({ choices: [{ index: 0, text: 'one' }] }));
  res.write(event({ choices: [{ index: 0, text: 'two', finish_reason: null }] }));
  res.write(event({ choices: [{ index: 0, text: '', finish_reason: 'length' }] }));
  res.end(`${withUsage ? event({ choices: [], usage }) : ''}data: [DONE]\n\n`);
};

describe('what an engine says', () => {
  it('is repeated without the credentials it was sent, whatever the header, and without control characters', async () => {
    const link = await serve(
      (_request, res) =>
        void res.writeHead(401).end('no such key: sk-canary\u001b[2J (Bearer sk-canary, canary-of-a-header)\r\nbye'),
      { headers: { authorization: 'Bearer sk-canary', 'x-key': 'canary-of-a-header' } },
    );
    await expect(sendProbe(link, COMPLETIONS, { text: 'hi', outputTokens: 1 })).rejects.toThrow(
      'the engine answered 401: no such key: *** [2J (***, ***) bye',
    );
  });

  it('in mid-stream is repeated without them too', async () => {
    const link = await serve((_request, res) => void res.end(event({ error: { message: 'sk-canary has expired' } })), {
      headers: { authorization: 'Bearer sk-canary' },
    });
    await expect(sendProbe(link, COMPLETIONS, { text: 'hi', outputTokens: 1 })).rejects.toThrow(
      'the engine failed in mid-stream: *** has expired',
    );
  });
});

describe('detectDialect', () => {
  it('settles on the fields and the route that the engine takes', async () => {
    const link = await serve(({ path, body }, res) => {
      if (path === '/v1/completions') res.writeHead(404).end();
      else if ('min_tokens' in body || 'stream_options' in body) res.writeHead(400).end('{"error":"extra_forbidden"}');
      else sendStream(res);
    });
    expect(await detectDialect(link, new PromptWriter('a'))).toEqual({
      route: 'chat',
      lengthFields: ['ignore_eos'],
      streamOptions: false,
    });
  });

  it('never sends stream_options to an engine known to refuse them', async () => {
    const seen: boolean[] = [];
    const answer: Answer = ({ body }, res) => {
      seen.push('stream_options' in body);
      sendStream(res);
    };
    const link = await serve(answer, { acceptsStreamOptions: false });
    expect(await detectDialect(link, new PromptWriter('a'))).toMatchObject({
      route: 'completions',
      streamOptions: false,
    });
    expect(seen).toEqual([false]);
  });

  it('an engine that only embeds is measured by its embeddings', async () => {
    const link = await serve(({ path }, res) => {
      if (path !== '/v1/embeddings') res.writeHead(404).end();
      else res.end(JSON.stringify({ data: [{ embedding: [0.5] }], usage: { prompt_tokens: 20, total_tokens: 20 } }));
    });
    const dialect = await detectDialect(link, new PromptWriter('a'));
    expect(dialect.route).toBe('embeddings');
    expect(await new ProbeBench(link, dialect, new PromptWriter('b')).timePrefill(20)).toMatchObject({
      computedTokens: 20,
      cachedTokens: 0,
    });
  });

  it('a refused key ends the search at once', async () => {
    let requests = 0;
    const link = await serve((_, res) => {
      requests += 1;
      res.writeHead(401).end('{"error":{"message":"no such key"}}');
    });
    await expect(detectDialect(link, new PromptWriter('a'))).rejects.toThrow(ProbeRefusedError);
    expect(requests).toBe(1);
  });
});

describe('sendProbe', () => {
  it('times each event that carries text, and neither the role before nor the end after it', async () => {
    const link = await serve((_, res) => sendStream(res), { headers: { authorization: 'Bearer k' } });
    const heard: number[] = [];
    const answer = await sendProbe(link, COMPLETIONS, {
      text: 'x',
      outputTokens: 2,
      onToken: (atMs) => heard.push(atMs),
    });
    expect(answer.tokenAtMs).toHaveLength(2);
    expect(heard).toEqual(answer.tokenAtMs);
    expect(answer.usage).toEqual({ promptTokens: 9, cachedTokens: 4, completionTokens: 2 });
  });

  it('credentials are sent, and prompt tokens from a cache are told apart', async () => {
    let authorization: string | undefined;
    const answer: Answer = ({ headers }, res) => {
      ({ authorization } = headers);
      sendStream(res);
    };
    const link = await serve(answer, { headers: { authorization: 'Bearer k' } });
    expect(await new ProbeBench(link, COMPLETIONS, new PromptWriter('a')).timePrefill(9)).toMatchObject({
      computedTokens: 5,
      cachedTokens: 4,
    });
    expect(authorization).toBe('Bearer k');
  });

  it('no usage, an error in mid-stream, no token and a broken connection are each said as such', async () => {
    const endings: readonly (readonly [(res: ServerResponse) => void, RegExp])[] = [
      [(res) => sendStream(res, false), /reports no usage/],
      [(res) => res.end(event({ error: { message: 'out of memory' } })), /mid-stream: out of memory/],
      [(res) => res.end('data: [DONE]\n\n'), /without any token/],
      [(res) => res.destroy(), /no answer from the engine/],
    ];
    for (const [end, message] of endings) {
      const link = await serve((_, res) => end(res));
      const failed = new ProbeBench(link, COMPLETIONS, new PromptWriter('a')).timePrefill(9);
      await expect(failed).rejects.toThrow(message);
      await expect(failed).rejects.toThrow(ProbeFailedError);
      await pool?.destroy();
      server?.close();
    }
  });

  it('what the engine says against a request is passed on, shortened', async () => {
    const link = await serve((_, res) => res.writeHead(400).end(`too long ${'x'.repeat(5000)}`));
    const refused = await sendProbe(link, COMPLETIONS, { text: 'x', outputTokens: 1 }).catch(
      (error: unknown) => error as Error,
    );
    expect(refused).toMatchObject({ status: 400 });
    expect((refused as Error).message).toContain('too long');
    expect((refused as Error).message.length).toBeLessThan(400);
  });
});

describe('PromptWriter', () => {
  it('learns from the engine how long its words are, and never writes the same prompt twice', () => {
    const writer = new PromptWriter('n');
    const first = writer.write(1000);
    writer.learn(first, first.split(' ').length * 2);
    const second = writer.write(1000);
    expect(second.split(' ')).toHaveLength(500);
    expect(new Set([first, second, writer.write(1000)].map((text) => text.slice(0, 40))).size).toBe(3);
    expect(new PromptWriter('other').write(50)).not.toBe(new PromptWriter('n').write(50));
  });
});

describe('readProbeEvent', () => {
  it('an end-of-text token without text is a token, rubbish is nothing', () => {
    expect(readProbeEvent('{"choices":[{"text":"","finish_reason":"stop"}]}')).toMatchObject({
      hasText: false,
      hasToken: true,
    });
    expect(readProbeEvent(' [DONE]')).toBeUndefined();
    expect(readProbeEvent('{"choices":null,"usage":{"prompt_tokens":-1}}')).toMatchObject({
      hasToken: false,
      usage: { promptTokens: null },
    });
  });
});
