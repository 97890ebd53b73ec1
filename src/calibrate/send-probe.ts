// One request to the engine, timed: when it was sent, when each token came, what the engine counted.
import { type Dialect, type EngineLink, ProbeFailedError, ProbeRefusedError, readBounded } from './engine-link.ts';
import { type ProbeEvent, readProbeEvent, readUsage, type ReportedUsage } from './read-probe-event.ts';

export interface Probe {
  readonly text: string;
  /** Ignored for embeddings. */
  readonly outputTokens: number;
  /** Called as each token arrives. */
  readonly onToken?: (atMs: number) => void;
}

/** Instants are monotonic ms. For embeddings the one token is the whole answer. */
export interface ProbeAnswer {
  readonly sentAtMs: number;
  /** Arrival of each event that carried a token, in order; never empty. */
  readonly tokenAtMs: readonly number[];
  readonly usage: ReportedUsage | null;
  /** Tokens per iteration as the engine says; null where it does not. */
  readonly tokensPerIteration: number | null;
}

const LINE_BYTES_MAX = 1024 * 1024;
const ERROR_BYTES_MAX = 64 * 1024;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const SAID_LENGTH_MAX = 300;
/** Shorter header values are words, not secrets, and would be found everywhere. */
const SECRET_LENGTH_MIN = 4;

const PATHS: Readonly<Record<Dialect['route'], string>> = {
  completions: '/v1/completions',
  chat: '/v1/chat/completions',
  embeddings: '/v1/embeddings',
};

/** Rejects with ProbeRefusedError on another status than 200, with ProbeFailedError where no usable answer came in time. */
export async function sendProbe(link: EngineLink, dialect: Dialect, probe: Probe): Promise<ProbeAnswer> {
  const body = JSON.stringify(describeRequest(link, dialect, probe));
  const sentAtMs = link.clock.monotonicMs();
  try {
    const answer = await link.dispatcher.request({
      method: 'POST',
      path: link.basePath + PATHS[dialect.route],
      headers: { 'content-type': 'application/json', ...link.headers },
      body,
      signal: AbortSignal.timeout(link.requestTimeoutMs),
    });
    const bytes = answer.body as AsyncIterable<Buffer>;
    if (answer.statusCode !== 200)
      throw new ProbeRefusedError(
        answer.statusCode,
        quoteSafely(link, (await readBounded(bytes, ERROR_BYTES_MAX)) ?? ''),
      );
    if (dialect.route === 'embeddings') return await readEmbedding(link, sentAtMs, bytes);
    return await readStream(link, { sentAtMs, bytes, onToken: probe.onToken });
  } catch (error) {
    if (error instanceof ProbeRefusedError || error instanceof ProbeFailedError) throw error;
    throw new ProbeFailedError(`no answer from the engine: ${describeFailure(error, link.requestTimeoutMs)}`, error);
  }
}

function describeRequest(link: EngineLink, dialect: Dialect, { text, outputTokens }: Probe): unknown {
  const { model } = link;
  if (dialect.route === 'embeddings') return { model, input: text };
  return {
    model,
    ...(dialect.route === 'chat' ? { messages: [{ role: 'user', content: text }] } : { prompt: text }),
    max_tokens: outputTokens,
    stream: true,
    ...(dialect.streamOptions ? { stream_options: { include_usage: true } } : {}),
    ...(dialect.lengthFields.includes('ignore_eos') ? { ignore_eos: true } : {}),
    ...(dialect.lengthFields.includes('min_tokens') ? { min_tokens: outputTokens } : {}),
  };
}

async function readEmbedding(link: EngineLink, sentAtMs: number, bytes: AsyncIterable<Buffer>): Promise<ProbeAnswer> {
  const text = await readBounded(bytes, ANSWER_BYTES_MAX);
  const atMs = link.clock.monotonicMs();
  const answer = parseObject(text ?? '');
  if (answer === undefined || !Array.isArray(answer['data']))
    throw new ProbeFailedError('the engine did not answer with embeddings');
  return { sentAtMs, tokenAtMs: [atMs], usage: readUsage(answer['usage']), tokensPerIteration: null };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

interface StreamRead {
  readonly sentAtMs: number;
  readonly bytes: AsyncIterable<Buffer>;
  readonly onToken: Probe['onToken'];
}

async function readStream(link: EngineLink, { sentAtMs, bytes, onToken }: StreamRead): Promise<ProbeAnswer> {
  const tokenAtMs: number[] = [];
  let usage: ReportedUsage | null = null;
  let tokensPerIteration: number | null = null;
  const take = (event: ProbeEvent | undefined, atMs: number): void => {
    if (event === undefined) return;
    if (event.error !== null)
      throw new ProbeFailedError(`the engine failed in mid-stream: ${quoteSafely(link, event.error)}`);
    usage = event.usage ?? usage;
    tokensPerIteration = event.tokensPerIteration ?? tokensPerIteration;
    // An end without text is a token only where nothing else was said, as for a lone end-of-text token.
    if (!event.hasText && !(event.hasToken && tokenAtMs.length === 0)) return;
    tokenAtMs.push(atMs);
    onToken?.(atMs);
  };
  let rest = '';
  const decoder = new TextDecoder();
  for await (const piece of bytes) {
    const atMs = link.clock.monotonicMs();
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_BYTES_MAX) throw new ProbeFailedError('the engine streams a line without an end');
    for (const line of lines) {
      if (line.startsWith('data:')) take(readProbeEvent(line.slice('data:'.length)), atMs);
    }
  }
  if (tokenAtMs.length === 0) throw new ProbeFailedError('the engine ended its answer without any token');
  return { sentAtMs, tokenAtMs, usage, tokensPerIteration };
}

/**
 * An engine's message on one line, without what moves a terminal's cursor, without the whole page of a proxy, and without our credentials, which some
 * repeat to whoever sent wrong ones.
 */
function quoteSafely({ headers }: EngineLink, text: string): string {
  const secrets = Object.values(headers).flatMap((value) => [value, value.replace(/^\w+ +/, '')]);
  const cleaned = secrets
    .filter((secret) => secret.length >= SECRET_LENGTH_MIN)
    .reduce((said, secret) => said.replaceAll(secret, '***'), text);
  return cleaned
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, SAID_LENGTH_MAX);
}

function describeFailure(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `silence for ${timeoutMs} ms`;
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
