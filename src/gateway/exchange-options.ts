// What one attempt at an engine is given, and how it can turn out. The attempt itself is upstream-exchange.ts.
import type { ServerResponse } from 'node:http';
import type { GatewayError } from '#domain/errors.ts';
import type { Outcome } from '#domain/usage-record.ts';
import type { AttemptCount } from './count-answer.ts';
import type { DeadlineSweep } from './deadline-sweep.ts';
import type { MeteredRoute } from './metered-routes.ts';
import type { ParsedRequest } from './parse-request.ts';
import type { RequestMeter } from './request-meter.ts';
import type { Upstream } from './upstream.ts';

/** Everything one attempt needs. */
export interface ExchangeOptions {
  readonly meter: RequestMeter;
  readonly route: MeteredRoute;
  readonly request: ParsedRequest;
  readonly upstream: Upstream;
  readonly res: ServerResponse;
  readonly body: Buffer;
  /** Flat list of names and values. */
  readonly headers: string[];
  /** Added to the answer's headers. */
  readonly answerHeaders: Readonly<Record<string, string>>;
  readonly removesUsage: boolean;
  /** Whether a complete stream of this engine ends with `[DONE]`. */
  readonly endsWithDone: boolean;
  /** Counts what the engine does not report; null where its deployment has no tokenizer. */
  readonly counting: AttemptCount | null;
  readonly deadlines: DeadlineSweep;
  /** Monotonic ms at which the whole request must have ended. */
  readonly mustEndByMs: number;
  /** Asked once, before anything of an answer reaches the client: false gives it up for another engine's. */
  readonly accepts: (status: number) => boolean;
}

/** `answered`: the client has got what it will get. Else nothing reached it, and no record is written yet. */
export type ExchangeResult =
  | { readonly kind: 'answered' }
  | {
      readonly kind: 'failed';
      readonly error: GatewayError;
      readonly wasSent: boolean;
      readonly outcome: Outcome;
      /** The engine's status where its answer was not accepted. */
      readonly declinedStatus: number | null;
    };
