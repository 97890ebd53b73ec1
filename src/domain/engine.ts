// What differs between engine servers, as data the request path reads. One file per engine in engines/ fills it in.

/** Facts of one kind of engine server; sources in shared/reference/upstreams.md. */
export interface EngineTraits {
  readonly name: string;
  /** A route that says whether the engine can serve and never generates; status 200 is healthy, all others are not. */
  readonly healthPath: string;
  /** Whether `stream_options.include_usage` may be added to a streaming request without the engine refusing it. */
  readonly acceptsStreamOptions: boolean;
  /** Whether `stream_options: {}` alone makes the engine send usage, that is, `include_usage` defaults to true in it. */
  readonly bareStreamOptionsAskUsage: boolean;
  /** Whether a complete chat or completion stream ends with `data: [DONE]`. */
  readonly endsWithDone: boolean;
  /** Whether the engine serves KServe's `/v2` routes, over HTTP and gRPC; absent means no. */
  readonly speaksKserve?: boolean;
  /** Whether the engine answers a Responses request with `background: true` as if it were false; absent means that it may work on after its answer. */
  readonly ignoresBackground?: boolean;
  /** Whether the engine runs `best_of` candidates and returns `n` of them; absent means that it refuses or ignores the field. */
  readonly runsBestOf?: boolean;
  /** Route that drains the engine's iteration rows (JSON); absent where it has none. */
  readonly iterationsPath?: string;
  /** Route that drains the step times of ended requests (JSON); absent where it has none. */
  readonly requestTimingsPath?: string;
}
