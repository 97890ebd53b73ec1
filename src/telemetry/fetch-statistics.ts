// One bounded GET of a statistics page. Not here: whose page, and what it says.
import type { UpstreamConfig } from '#config/config.ts';
import type { Dispatcher } from 'undici';

const PAGE_BYTES_MAX = 8 * 1024 * 1024;

export interface StatisticsPage {
  readonly status: number;
  readonly text: string;
}

/** Where to ask and with what; `upstream` gives credentials and extra headers, null for none. */
export interface PageRequest {
  readonly dispatcher: Dispatcher;
  readonly path: string;
  readonly upstream: Pick<UpstreamConfig, 'apiKey' | 'headers'> | null;
  /** Hard limit for connecting, headers and body together. */
  readonly timeoutMs: number;
  /** Longer pages are not read to their end; default 8 MiB. */
  readonly bytesMax?: number;
}

/** The page, whatever its status. Rejects with an Error that holds no secret where it did not come whole within the limits. */
export async function fetchStatistics(request: PageRequest): Promise<StatisticsPage> {
  const { dispatcher, path, upstream, timeoutMs, bytesMax = PAGE_BYTES_MAX } = request;
  const answer = await dispatcher.request({
    method: 'GET',
    path,
    headers: {
      ...(upstream === null || upstream.apiKey === '' ? {} : { authorization: `Bearer ${upstream.apiKey}` }),
      ...upstream?.headers,
    },
    signal: AbortSignal.timeout(timeoutMs),
  });
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of answer.body as AsyncIterable<Buffer>) {
    length += piece.length;
    // Leaving the loop destroys the body.
    if (length > bytesMax) throw new Error(`the page is longer than ${bytesMax} bytes`);
    pieces.push(piece);
  }
  return { status: answer.statusCode, text: Buffer.concat(pieces, length).toString('utf8') };
}
