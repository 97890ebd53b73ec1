// What one attempt at an engine is given, and how it can turn out. The attempt itself is upstream-exchange.ts.
import type { ServerResponse } from 'node:http';
import type { GatewayError } from '#domain/errors.ts';
import type { Outcome } from '#domain/usage-record.ts';
import type { AttemptCount } from './count-answer.ts';
import type { StreamPace } from './count-stream.ts';
import type { DeadlineSweep } from './deadline-sweep.ts';
import type { EstimateAnswer } from './estimate-answer.ts';
import type { MeteredRoute } from './metered-routes.ts';
import type { ParsedRequest } from './parse-request.ts';
import type { AttemptSpan, RequestMeter } from './request-meter.ts';
import type { UsageRemoval } from './sent-body.ts';
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
  readonly removal: UsageRemoval;
  /** The attempt that goes on with this sending; undefined where it begins with it. */
  readonly span: AttemptSpan | undefined;
  /** Whether a complete stream of this engine and route ends with `[DONE]` or the last event of its protocol. */
  readonly endsWithDone: boolean;
  /** Sequences that the engine ran for each answer it returned; 1 where it knows no `best_of`. */
  readonly candidates: number;
  /** Counts what the engine does not report; null where its deployment has no tokenizer. */
  readonly counting: AttemptCount | null;
  /** Tokens per event, where an engine says no usage. */
  readonly pace: StreamPace;
  readonly deadlines: DeadlineSweep;
  /** Monotonic ms at which the whole request must have ended. */
  readonly mustEndByMs: number;
  /** Asked once, before anything of an answer reaches the client: false gives it up for another engine's. */
  readonly accepts: (status: number) => boolean;
  /**
   * Whether a refusal of this status (`text` null: before it was read) is a reason to send the request again without what the gateway
   * added; null where it added nothing.
   */
  readonly asksAgain: ((status: number, text: string | null) => boolean) | null;
  /** Null where answers carry no estimate. */
  readonly estimateCost: EstimateAnswer | null;
}

/**
 * `answered`: the client has got what it will get. Else nothing reached it, and no record is written yet; `refused`: the engine did not
 * take the body with the gateway's own fields in it.
 */
export type ExchangeResult =
  | { readonly kind: 'answered' }
  | { readonly kind: 'refused'; readonly status: number; readonly span: AttemptSpan }
  | {
      readonly kind: 'failed';
      readonly error: GatewayError;
      readonly wasSent: boolean;
      readonly outcome: Outcome;
      /** The engine's status where its answer was not accepted. */
      readonly declinedStatus: number | null;
    };
