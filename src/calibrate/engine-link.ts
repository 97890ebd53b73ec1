// How a calibration reaches one engine: connection, credentials, names and limits. Requests are sent by send-probe.ts.
import type { Clock } from '#domain/clock.ts';
import type { Dispatcher } from 'undici';

/** One engine. `headers` hold its credentials: never log them. */
export interface EngineLink {
  readonly dispatcher: Dispatcher;
  /** Path part of its URL, without a trailing slash. */
  readonly basePath: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Name it serves. */
  readonly model: string;
  /** The config's name of the engine. */
  readonly engine: string;
  /** False for engines known to refuse `stream_options`. */
  readonly acceptsStreamOptions: boolean;
  /** Whether reading TensorRT-LLM's `/metrics`, which empties it, is allowed. */
  readonly mayDrainStatistics: boolean;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Limit of one request, ms. */
  readonly requestTimeoutMs: number;
}

/** How this engine wants to be asked, found out once (detect-dialect.ts). */
export interface Dialect {
  readonly route: 'completions' | 'chat' | 'embeddings';
  /** Request fields that keep an answer from ending early, as far as the engine takes them. */
  readonly lengthFields: readonly ('ignore_eos' | 'min_tokens')[];
  readonly streamOptions: boolean;
}

/** The engine answered with an error; `message` holds what it said, shortened. */
export class ProbeRefusedError extends Error {
  readonly status: number;

  constructor(status: number, said: string) {
    super(`the engine answered ${status}${said === '' ? '' : `: ${said}`}`);
    this.name = 'ProbeRefusedError';
    this.status = status;
  }
}

/** No answer, a broken one, or one that cannot be used. */
export class ProbeFailedError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ProbeFailedError';
  }
}

/** GETs a route that costs no GPU time; undefined where it is not answered with 200, or with more than 4 MiB. */
export async function getText(link: EngineLink, path: string): Promise<string | undefined> {
  try {
    const { statusCode, body } = await link.dispatcher.request({
      method: 'GET',
      path: link.basePath + path,
      headers: { ...link.headers },
      signal: AbortSignal.timeout(QUESTION_TIMEOUT_MS),
    });
    if (statusCode !== 200) {
      body.on('error', () => {});
      await body.dump();
      return undefined;
    }
    return await readBounded(body as AsyncIterable<Buffer>, ANSWER_BYTES_MAX);
  } catch {
    // Not there or not now: for the asker the same.
    return undefined;
  }
}

const QUESTION_TIMEOUT_MS = 5000;
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** The text of a body; undefined beyond `bytesMax`. Rejects when the body breaks off. */
export async function readBounded(body: AsyncIterable<Buffer>, bytesMax: number): Promise<string | undefined> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    // Leaving the loop destroys the body.
    if (bytes > bytesMax) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces, bytes).toString('utf8');
}
