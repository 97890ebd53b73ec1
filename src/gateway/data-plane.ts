// What the stages of the request path share: services that live as long as the gateway, and the view of the config in force.
import type { Config } from '#config/config.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { EstimateCost } from '#accounting/estimate-cost.ts';
import type { Admission } from '#tenancy/admission.ts';
import type { Authenticate } from './authenticate.ts';
import type { AnswerCounter } from './count-answer.ts';
import type { CallerBooks } from './caller-books.ts';
import type { StreamPace } from './count-stream.ts';
import type { DeadlineSweep } from './deadline-sweep.ts';
import type { HealthChecks } from './health-checks.ts';
import type { InFlight } from './in-flight.ts';
import type { InjectionMemory } from './injection-memory.ts';
import type { LatestAnswers } from './latest-answers.ts';
import type { MeterServices } from './request-meter.ts';
import type { ModelRouter } from './route-model.ts';
import type { TurnSends } from './turn-sends.ts';
import type { UpstreamPool } from './upstream-pool.ts';

/** How a retry went: an answer began, it failed too, or the retry budget was spent and there was none. */
export type RetryResult = 'answered' | 'failed' | 'refused';

/** Replaced as a whole by a reload; a request keeps the view it began with. */
export interface ConfigView {
  readonly config: Config;
  readonly authenticate: Authenticate;
  readonly router: ModelRouter;
  readonly injections: InjectionMemory;
}

/** Given to every stage. `view` is the only part that changes. */
export interface DataPlane extends MeterServices {
  view: ConfigView;
  readonly engines: Readonly<Record<string, EngineTraits>>;
  readonly pool: UpstreamPool;
  readonly sends: TurnSends;
  readonly health: HealthChecks;
  readonly admission: Admission;
  readonly answerCounter: AnswerCounter;
  readonly pace: StreamPace;
  readonly deadlines: DeadlineSweep;
  readonly inFlight: InFlight;
  /** Of HTTP's connections. */
  readonly answers: LatestAnswers;
  /** Null where answers carry no estimate of their cost. */
  readonly estimateCost: EstimateCost | null;
  /** Null where callers cannot read their own books. */
  readonly callerBooks: CallerBooks | null;
  readonly bodyGraceMs: number;
  readonly createRequestId: () => string;
  /** True once new requests are refused. */
  readonly isRefusing: () => boolean;
  readonly onRejection: (team: string | null, reason: string) => void;
  readonly onRetry: (deployment: string, result: RetryResult) => void;
  /** Milliseconds a request spent here before it was first sent to an engine, its upload left out. */
  readonly onOverhead: (
    target: { readonly model: string | null; readonly deployment: string | null },
    overheadMs: number,
  ) => void;
}
