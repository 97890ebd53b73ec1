// `errors: openai`: an engine's error body, in whichever of their shapes, as the envelope of the route's protocol.
// The gateway's own errors are openai-error's.
import { asObject } from './read-usage.ts';
import { renderErrorEvent } from './error-event.ts';
import type { MeteredRoute, Protocol } from './metered-routes.ts';
import { renderEnvelope } from './openai-error.ts';

/** Error bodies are short; a longer one passes as it is. */
export const ERROR_BYTES_MAX = 64 * 1024;

interface ErrorFacts {
  readonly message: string;
  readonly type: string | null;
  readonly param: string | null;
  readonly code: string | number | null;
}

/** OpenAI's type of an error that names none itself. */
function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'requests';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

/**
 * The error as JSON text in the protocol's envelope; null where the body is in it already, or is no error that can be read. Known shapes
 * (upstreams.md §1.5, §2.4, §3.1, §5.2, §5.5): trtllm-serve's flat `{object:"error",message,type,code}`, `{"error":"text"}` of
 * trtllm-serve's validation, Triton and TGI (with `error_type`), FastAPI's `{"detail": text | [{loc,msg}]}`, Dynamo's
 * `{message,type,code}`, Anthropic's envelope on a route of OpenAI's and the other way round.
 */
export function normalizeError(body: Buffer, status: number, protocol: Protocol): string | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
  const answer = asObject(parsed);
  if (answer === null || isInEnvelope(answer, protocol)) return null;
  const facts = readFacts(answer);
  if (facts === null) return null;
  return renderEnvelope(
    { message: facts.message, type: facts.type ?? typeOf(status), param: facts.param, code: facts.code, status },
    protocol,
  );
}

/**
 * The same for an error in the middle of a stream: the event in its protocol's words, null where it is in them already or cannot be read. Seen
 * in streams (upstreams.md §5.1, §5.3): transformers' `{"error":"text"}`, trtllm-serve's flat object. `sequence` is the event's number.
 */
export function normalizeErrorEvent(
  payload: unknown,
  route: Pick<MeteredRoute, 'protocol' | 'shape'>,
  sequence: number,
): string | null {
  const answer = asObject(payload);
  if (answer === null) return null;
  const isKnown =
    route.shape === 'response'
      ? answer['type'] === 'error' || answer['type'] === 'response.failed'
      : isInEnvelope(answer, route.protocol);
  const facts = isKnown ? null : readFacts(answer);
  if (facts === null) return null;
  // The stream began with 200: what breaks it later is the server's.
  return renderErrorEvent({ ...facts, type: facts.type ?? typeOf(500), status: 500 }, route, sequence);
}

function isInEnvelope(answer: Readonly<Record<string, unknown>>, protocol: Protocol): boolean {
  const error = asObject(answer['error']);
  if (error === null || typeof error['message'] !== 'string') return false;
  if (protocol === 'anthropic') return answer['type'] === 'error' && typeof error['type'] === 'string';
  return answer['type'] !== 'error' && 'type' in error && 'param' in error && 'code' in error;
}

function readFacts(answer: Readonly<Record<string, unknown>>): ErrorFacts | null {
  const { error, detail, message } = answer;
  const inner = asObject(error);
  if (inner !== null && typeof inner['message'] === 'string') return readFlat(inner, inner['message']);
  if (typeof error === 'string') {
    const kind = readText(answer['error_type']);
    return { message: error, type: kind, param: null, code: kind };
  }
  if (typeof message === 'string') return readFlat(answer, message);
  if (typeof detail === 'string') return { message: detail, type: null, param: null, code: null };
  return Array.isArray(detail) ? readValidation(detail) : null;
}

function readFlat(source: Readonly<Record<string, unknown>>, message: string): ErrorFacts {
  const { code } = source;
  return {
    message,
    type: readText(source['type']),
    param: readText(source['param']),
    code: typeof code === 'string' || typeof code === 'number' ? code : null,
  };
}

/** FastAPI's list of what does not fit: all messages, and the field of the first. `loc` begins with `body`. */
function readValidation(detail: readonly unknown[]): ErrorFacts | null {
  const issues = detail.slice(0, 20).flatMap((item) => {
    const issue = asObject(item);
    const text = readText(issue?.['msg']);
    if (text === null) return [];
    const place = Array.isArray(issue?.['loc']) ? issue['loc'].filter((part) => part !== 'body').join('.') : '';
    return [{ text, place }];
  });
  const [first] = issues;
  if (first === undefined) return null;
  return {
    message: issues.map(({ text, place }) => (place === '' ? text : `${place}: ${text}`)).join('; '),
    type: null,
    param: first.place === '' ? null : first.place,
    code: null,
  };
}

function readText(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}
