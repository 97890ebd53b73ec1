// What the supervising process and its workers say to each other, as plain data (structured clones: bigint and Map pass). No behaviour.
import type { Config } from '#config/config.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { MetricsSources } from '#observe/metrics.ts';
import type { MetricJson } from '#observe/sum-metrics.ts';
import type { SoughtRequest } from '#reports/caller-books.ts';
import type { ReadinessAnswer } from '#src/readiness.ts';

/** How a worker is, sent every half second and when it changes. */
export interface WorkerReport {
  readonly readiness: ReadinessAnswer;
  readonly upstreams: ReturnType<MetricsSources['upstreamStatus']>;
  readonly profiles: ReturnType<MetricsSources['profiles']>;
}

export interface WorkerAddresses {
  readonly gatewayUrl: string;
  readonly grpcAddress: string | null;
}

/** An error across the process border: its class is told by its name. */
export interface ToldError {
  readonly name: string;
  readonly message: string;
}

/** What is asked, and the shape of its answer. */
export interface Questions {
  readonly metrics: {
    readonly asked: { readonly configReloadSuccessful: boolean };
    readonly answer: readonly MetricJson[];
  };
  readonly unsettled: {
    readonly asked: { readonly sought: SoughtRequest | null };
    readonly answer: readonly UsageRecord[];
  };
  readonly reload: {
    readonly asked: { readonly config: Config };
    readonly answer: { readonly refusals: readonly string[]; readonly error: string | null };
  };
}

export type QuestionKind = keyof Questions;

export interface Ask<Kind extends QuestionKind = QuestionKind> {
  readonly t: 'ask';
  readonly id: number;
  readonly kind: Kind;
  readonly asked: Questions[Kind]['asked'];
}

export interface Answer {
  readonly t: 'answer';
  readonly id: number;
  readonly value: unknown;
}

export type ToWorker =
  | { readonly t: 'start'; readonly config: Config; readonly version: string }
  | { readonly t: 'drain' }
  | Ask
  | Answer;

export type FromWorker =
  | { readonly t: 'hello' }
  | { readonly t: 'listening'; readonly addresses: WorkerAddresses }
  | { readonly t: 'report'; readonly report: WorkerReport }
  /** It cannot start, or must not go on. */
  | { readonly t: 'failed'; readonly error: ToldError }
  | { readonly t: 'drained'; readonly left: readonly string[]; readonly metrics: readonly MetricJson[] }
  | Ask<'unsettled'>
  | Answer;
