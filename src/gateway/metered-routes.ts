// The inference routes whose tokens are metered, and what each speaks. How answers are read is in read-usage and stream-shapes.

import type { IncomingHttpHeaders } from 'node:http';
import type { AnswerObserver } from './observe-answer.ts';

/** In which envelope the gateway's own errors are told. */
export type Protocol = 'openai' | 'anthropic' | 'kserve';

/** Which fields a request has and how its answer says usage and content. */
export type RouteShape = 'chat' | 'completion' | 'embedding' | 'response' | 'message' | 'rerank';

/** How closely an answer is to be read. */
export interface ReadingOptions {
  /** Keep a stream's text, because it will have to be counted. */
  readonly keepsText: boolean;
}

export interface MeteredRoute {
  /** Path as sent upstream; for metered routes the template at once, since none of them has parameters. */
  readonly path: string;
  readonly protocol: Protocol;
  readonly shape: RouteShape;
  /** `duration` whatever the deployment says, where nothing is known of the route's tokens. */
  readonly work?: 'duration';
  /** True where the engine produces no decode steps. */
  readonly prefillOnly: boolean;
  /** True where `stream_options` belongs to the request's schema. */
  readonly takesStreamOptions: boolean;
  /** Reads the route's answers where they are in no shape of OpenAI's; null for an answer that none can read. */
  readonly createObserver?: (headers: IncomingHttpHeaders, options: ReadingOptions) => AnswerObserver | null;
}

/** Metered `POST` routes (contract §4). */
export const METERED_ROUTES: readonly MeteredRoute[] = [
  { path: '/v1/chat/completions', protocol: 'openai', shape: 'chat', prefillOnly: false, takesStreamOptions: true },
  { path: '/v1/completions', protocol: 'openai', shape: 'completion', prefillOnly: false, takesStreamOptions: true },
  { path: '/v1/embeddings', protocol: 'openai', shape: 'embedding', prefillOnly: true, takesStreamOptions: false },
  { path: '/v1/responses', protocol: 'openai', shape: 'response', prefillOnly: false, takesStreamOptions: false },
  { path: '/v1/messages', protocol: 'anthropic', shape: 'message', prefillOnly: false, takesStreamOptions: false },
  { path: '/v1/rerank', protocol: 'openai', shape: 'rerank', prefillOnly: true, takesStreamOptions: false },
];

/** The protocol in which a path's errors are told, metered or not. */
export function protocolOf(path: string): Protocol {
  if (path === '/v1/messages' || path.startsWith('/v1/messages/')) return 'anthropic';
  return path === '/v2' || path.startsWith('/v2/') ? 'kserve' : 'openai';
}
