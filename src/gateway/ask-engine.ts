// One small question to an engine that costs no GPU time: metadata, statistics, an index. Inference is upstream-exchange's.
import type { Upstream } from './upstream-pool.ts';

/** Longer answers are no metadata. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

export interface EngineQuestion {
  readonly method: 'GET' | 'POST';
  /** Appended to the upstream's base path. */
  readonly path: string;
  readonly body?: string;
  readonly timeoutMs: number;
}

export interface EngineAnswer {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly body: Buffer;
}

/** Asks with the upstream's credentials; null where no whole answer came in time. Never rejects. */
export async function askEngine(upstream: Upstream, question: EngineQuestion): Promise<EngineAnswer | null> {
  const { config, dispatcher, basePath } = upstream;
  try {
    const answer = await dispatcher.request({
      method: question.method,
      path: basePath + question.path,
      headers: {
        ...(config.apiKey === '' ? {} : { authorization: `Bearer ${config.apiKey}` }),
        ...(question.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...config.headers,
      },
      ...(question.body === undefined ? {} : { body: question.body }),
      signal: AbortSignal.timeout(question.timeoutMs),
    });
    const pieces: Buffer[] = [];
    let length = 0;
    for await (const piece of answer.body as AsyncIterable<Buffer>) {
      length += piece.length;
      // Leaving the loop destroys the body.
      if (length > ANSWER_BYTES_MAX) return null;
      pieces.push(piece);
    }
    const contentType = answer.headers['content-type'];
    return {
      status: answer.statusCode,
      contentType: typeof contentType === 'string' ? contentType : undefined,
      body: Buffer.concat(pieces, length),
    };
  } catch {
    // Refused, reset, silent: for the asker all the same.
    return null;
  }
}

/** The answer's JSON; undefined for another status than 200 and for what is no JSON. */
export function readJsonAnswer(answer: EngineAnswer | null): unknown {
  if (answer?.status !== 200) return undefined;
  try {
    return JSON.parse(answer.body.toString('utf8'));
  } catch {
    return undefined;
  }
}
