// The gateway's own errors: one table from code to status, OpenAI error type and public text. Rendering per protocol is in gateway.

interface ErrorKind {
  readonly status: number;
  /** `error.type` of OpenAI's envelope. */
  readonly type: string;
  /** What the client is told when the thrower gives no better public text. */
  readonly text: string;
}

/** Codes of contract §4; each is also the `code` of the envelope. */
export const ERROR_KINDS = {
  invalid_json: { status: 400, type: 'invalid_request_error', text: 'The request body is not valid JSON.' },
  invalid_request: { status: 400, type: 'invalid_request_error', text: 'The request is not valid.' },
  model_required: { status: 400, type: 'invalid_request_error', text: 'The request names no model and no deployment.' },
  invalid_tags: { status: 400, type: 'invalid_request_error', text: 'The header x-inferometer-tags is not valid.' },
  invalid_api_key: { status: 401, type: 'authentication_error', text: 'The API key is missing or not valid.' },
  unknown_team: { status: 401, type: 'authentication_error', text: 'The request carries no known team.' },
  model_not_allowed: { status: 403, type: 'permission_error', text: 'This key may not use the requested model.' },
  model_not_found: { status: 404, type: 'invalid_request_error', text: 'The requested model does not exist here.' },
  route_not_found: { status: 404, type: 'invalid_request_error', text: 'This route does not exist here.' },
  request_not_found: { status: 404, type: 'invalid_request_error', text: 'No such request.' },
  request_timeout: { status: 408, type: 'invalid_request_error', text: 'The request body did not arrive in time.' },
  request_too_large: { status: 413, type: 'invalid_request_error', text: 'The request body is larger than allowed.' },
  unsupported_encoding: {
    status: 415,
    type: 'invalid_request_error',
    text: 'The content-encoding of the request body is not supported.',
  },
  rate_limit_exceeded: { status: 429, type: 'requests', text: 'Too many requests.' },
  budget_exceeded: { status: 429, type: 'insufficient_quota', text: 'The budget is spent.' },
  internal_error: { status: 500, type: 'server_error', text: 'The gateway failed on this request.' },
  upstream_unreachable: { status: 502, type: 'server_error', text: 'The engine could not be reached.' },
  no_healthy_upstream: { status: 503, type: 'server_error', text: 'No healthy engine serves this model.' },
  overloaded: { status: 503, type: 'server_error', text: 'The gateway is overloaded.' },
  draining: { status: 503, type: 'server_error', text: 'This gateway is shutting down.' },
  upstream_timeout: { status: 504, type: 'server_error', text: 'The engine did not answer in time.' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERROR_KINDS;

export interface GatewayErrorOptions {
  /** Replaces the table's public text; must hold no secret and no prompt text. */
  readonly text?: string;
  /** `error.param` of the envelope. */
  readonly param?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Thrown anywhere on the request path, rendered in one place. `message` is the public text. */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, options: GatewayErrorOptions = {}) {
    super(options.text ?? ERROR_KINDS[code].text, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GatewayError';
    this.code = code;
    this.status = ERROR_KINDS[code].status;
    this.type = ERROR_KINDS[code].type;
    this.param = options.param ?? null;
    this.headers = options.headers ?? {};
  }
}
