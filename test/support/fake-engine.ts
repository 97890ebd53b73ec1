// An engine whose every byte a test decides: each request is answered by the script in force, and what it was sent is kept.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers one request; the connection is the script's to end or break. */
export type Script = (res: ServerResponse, request: SeenRequest) => void | Promise<void>;

export interface FakeEngine {
  readonly url: string;
  readonly port: number;
  /** Requests but those to the health route, oldest first. */
  readonly requests: SeenRequest[];
  /** Answers from now on, until the next. */
  answerWith(script: Script): void;
  /** Status of the health route. */
  healthStatus: number;
  healthChecks: number;
  /** Resolves when a client has hung up on a request before its answer was complete. */
  readonly hungUp: () => Promise<void>;
  /** Open connections. */
  connections(): Promise<number>;
  close(): Promise<void>;
}

/** Starts an engine on a free loopback port that answers with a chat completion of three tokens until told otherwise. */
export async function startFakeEngine(): Promise<FakeEngine> {
  const requests: SeenRequest[] = [];
  let script: Script = answerChat;
  let hangUps = 0;
  let waiters: (() => void)[] = [];
  const state = { healthStatus: 200, healthChecks: 0 };
  const server = createServer((req: IncomingMessage, res: ServerResponse) => {
    if (req.url?.endsWith('/health') === true) {
      state.healthChecks += 1;
      res.writeHead(state.healthStatus).end();
      return;
    }
    res.on('close', () => {
      if (res.writableFinished) return;
      hangUps += 1;
      for (const wake of waiters.splice(0)) wake();
    });
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const seen = { method: req.method ?? '', path: req.url ?? '', headers: req.headers, body: Buffer.concat(chunks) };
      requests.push(seen);
      void script(res, seen);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    answerWith(next) {
      script = next;
    },
    get healthStatus() {
      return state.healthStatus;
    },
    set healthStatus(status) {
      state.healthStatus = status;
    },
    get healthChecks() {
      return state.healthChecks;
    },
    set healthChecks(count) {
      state.healthChecks = count;
    },
    hungUp() {
      if (hangUps > 0) return Promise.resolve();
      return new Promise((resolve) => {
        waiters.push(resolve);
      });
    },
    connections: () =>
      new Promise((resolve, reject) => {
        server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
      }),
    async close() {
      waiters = [];
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A gate: `opened` resolves once `open` was called. */
export function createGate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** A JSON document as the whole answer. */
export function answerJson(body: unknown, status = 200): Script {
  return (res) => {
    const text = JSON.stringify(body);
    res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
  };
}

/** Chunks of an event stream, each written on its own turn, then a clean end. */
export function answerStream(chunks: readonly (string | Buffer)[]): Script {
  return async (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const chunk of chunks) {
      if (res.destroyed) return;
      await new Promise((resolve) => res.write(chunk, resolve));
    }
    res.end();
  };
}

export const CHAT_ANSWER = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'served',
  choices: [{ index: 0, message: { role: 'assistant', content: 'one two three' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, prompt_tokens_details: { cached_tokens: 2 } },
};

const answerChat = answerJson(CHAT_ANSWER);

/** Events of a chat stream as trtllm-serve frames them: role chunk with a space before its line end, usage chunk where asked for. */
export function chatEvents(words: readonly string[], options: { readonly usage: boolean }): string[] {
  const chunk = (rest: object): string =>
    `data: ${JSON.stringify({ id: 'chatcmpl-77', object: 'chat.completion.chunk', created: 1, model: 'served', ...rest })}`;
  const last = words.length - 1;
  const usage = { prompt_tokens: 5, total_tokens: 5 + words.length, completion_tokens: words.length };
  return [
    `${chunk({ choices: [{ index: 0, delta: { role: 'assistant' } }] })} \n\n`,
    ...words.map(
      (content, index) =>
        `${chunk({ choices: [{ index: 0, delta: { content }, ...(index === last ? { finish_reason: 'stop' } : {}) }] })}\n\n`,
    ),
    ...(options.usage ? [`${chunk({ choices: [], usage })}\n\n`] : []),
    'data: [DONE]\n\n',
  ];
}
