// GET /v1/inferometer/…: a caller's own requests, usage and budget (contract §4). Reading one's books is no inference: it leaves no record.
import type { ServerResponse } from 'node:http';
import { GatewayError } from '#domain/errors.ts';
import type { BooksAnswer, CallerBooks } from './caller-books.ts';
import { sendJson } from './models-route.ts';
import { sendError } from './openai-error.ts';
import type { Exchange, RouteHandler } from './serve-request.ts';

const REQUESTS = '/v1/inferometer/requests/';
/** Ids longer than this are nobody's. */
const MAX_ID_LENGTH = 256;
const USAGE_PARAMETERS = ['from', 'to', 'groupBy', 'granularity'] as const;

/** One handler per path. */
export interface CallerRoutes {
  readonly requests: RouteHandler;
  readonly usage: RouteHandler;
  readonly budget: RouteHandler;
}

/** Creates the handlers; they find only what belongs to the caller's team. */
export function createCallerRoutes(books: CallerBooks): CallerRoutes {
  return {
    requests: {
      route: '/v1/inferometer/requests/{id}',
      serve: (exchange) => serveRequests(books, exchange),
    },
    usage: { route: '/v1/inferometer/usage', serve: (exchange) => serveUsage(books, exchange) },
    budget: {
      route: '/v1/inferometer/budget',
      async serve({ meter, res, idHeaders }) {
        const answer = await books.readBudget(meter.caller.team);
        const body = takeBody(answer, res, idHeaders);
        if (body !== undefined) sendJson(res, { headers: idHeaders, body: { budget: body } });
      },
    },
  };
}

async function serveRequests(books: CallerBooks, { path, meter, res, idHeaders }: Exchange): Promise<void> {
  const id = decodeId(path.slice(REQUESTS.length));
  const answer: BooksAnswer<readonly { readonly settled: boolean; readonly json: unknown }[]> =
    id.length > MAX_ID_LENGTH ? { kind: 'found', body: [] } : await books.findRequests(meter.caller.team, id);
  const records = takeBody(answer, res, idHeaders);
  if (records === undefined) return;
  if (records.length === 0) {
    sendError(res, new GatewayError('request_not_found'), { protocol: 'openai', headers: idHeaders });
    return;
  }
  const headers = records.every(({ settled }) => settled) ? idHeaders : { ...idHeaders, 'retry-after': '1' };
  sendJson(res, { headers, body: { requests: records.map(({ json }) => json) } });
}

async function serveUsage(books: CallerBooks, { req, meter, res, idHeaders }: Exchange): Promise<void> {
  const query = new URLSearchParams(req.url?.split('?', 2)[1] ?? '');
  const unknown = [...query.keys()].find((name) => !USAGE_PARAMETERS.some((known) => known === name));
  const read = (name: (typeof USAGE_PARAMETERS)[number]): string | undefined => query.get(name) ?? undefined;
  const answer: BooksAnswer<unknown> =
    unknown === undefined
      ? await books.readUsage(meter.caller.team, {
          from: read('from'),
          to: read('to'),
          groupBy: read('groupBy'),
          granularity: read('granularity'),
        })
      : { kind: 'bad', bad: { parameter: unknown, problem: `is not one of ${USAGE_PARAMETERS.join(', ')}` } };
  const body = takeBody(answer, res, idHeaders);
  if (body !== undefined) sendJson(res, { headers: idHeaders, body });
}

/** The body of an answer that has one; else the error is sent and undefined returned. */
function takeBody<Body>(
  answer: BooksAnswer<Body>,
  res: ServerResponse,
  headers: Readonly<Record<string, string>>,
): Body | undefined {
  if (answer.kind === 'found') return answer.body;
  const error =
    answer.kind === 'bad'
      ? new GatewayError('invalid_request', {
          text: `The parameter ${answer.bad.parameter} ${answer.bad.problem}.`,
          param: answer.bad.parameter,
        })
      : new GatewayError('overloaded', { text: 'The books cannot be read now.', headers: { 'retry-after': '1' } });
  sendError(res, error, { protocol: 'openai', headers });
  return undefined;
}

/** What is no percent-encoding is taken as it stands. */
function decodeId(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}
