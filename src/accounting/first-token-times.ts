// When requests got their first token, by their arrival: engines serve in order of arrival, so that neighbours tell how long a request waited
// whose answer shows nothing before its end. Not here: how fast it went on from there (step-clock.ts).
import type { PrefillPlace } from '#domain/metering.ts';
import { prefillPlace, type TrackedAttempt } from './tracked-attempt.ts';

/** Streams remembered per engine; the oldest are forgotten first. */
const STREAMS_KEPT = 2000;
const MAX_ENGINES = 1000;

/** What neighbours say about a request: epoch ms. */
export interface QueueBounds {
  /** It cannot have begun before: its arrival, or the first token of the stream that arrived last before it, or the end of one that was cut while it waited. Infinity while such a one waits. */
  readonly beginsAfterMs: number;
  /** It had its first token by then, since one that arrived later had; Infinity where nobody did. */
  readonly firstTokenByMs: number;
}

interface ServedStream {
  readonly startMs: number;
  readonly firstMs: number;
}

interface EngineStreams {
  readonly served: ServedStream[];
  /** Streams that were cut before their first token: nobody behind them was served while they waited. */
  readonly cut: { readonly startMs: number; readonly endMs: number }[];
  /** Arrivals that still wait for their first token, as of the last look. */
  waiting: number[];
}

/** First tokens of the streams of one process, by the pool and deployment that compute prompts. */
export class FirstTokenTimes {
  readonly #byEngine = new Map<string, EngineStreams>();
  readonly #noted = new WeakSet<TrackedAttempt>();

  /** Looks at all attempts that are not sealed; called at every sealing. */
  observe(attempts: readonly TrackedAttempt[]): void {
    for (const streams of this.#byEngine.values()) streams.waiting = [];
    for (const attempt of attempts) {
      const { start, features } = attempt;
      if (start === null || features === null || !start.shape.stream || start.shape.work !== 'tokens') continue;
      const { pool, deployment } = prefillPlace(start);
      const streams = this.#streams(`${pool}\n${deployment}`);
      if (streams === null) continue;
      const firstMs = features.firstContentMs;
      if (firstMs === null && features.endMs === null) streams.waiting.push(start.startMs);
      else if (firstMs === null && !this.#noted.has(attempt)) {
        this.#noted.add(attempt);
        streams.cut.push({ startMs: start.startMs, endMs: features.endMs ?? start.startMs });
        if (streams.cut.length > STREAMS_KEPT) streams.cut.shift();
      } else if (firstMs !== null && !this.#noted.has(attempt)) {
        this.#noted.add(attempt);
        streams.served.push({ startMs: start.startMs, firstMs });
        if (streams.served.length > STREAMS_KEPT) streams.served.shift();
      }
    }
  }

  /** What is known of a request that arrived at `startMs`; null where no stream was seen. */
  bounds({ pool, deployment }: PrefillPlace, startMs: number): QueueBounds | null {
    const streams = this.#byEngine.get(`${pool}\n${deployment}`);
    if (streams === undefined || streams.served.length + streams.cut.length === 0) return null;
    let before: ServedStream | null = null;
    let after: ServedStream | null = null;
    for (const stream of streams.served) {
      if (stream.startMs < startMs && (before === null || stream.startMs > before.startMs)) before = stream;
      if (stream.startMs > startMs && (after === null || stream.startMs < after.startMs)) after = stream;
    }
    const cutMs = streams.cut.reduce(
      (last, cut) => (cut.startMs < startMs ? Math.max(last, cut.endMs) : last),
      startMs,
    );
    const queued = streams.waiting.some((waitingMs) => waitingMs < startMs);
    return {
      beginsAfterMs: queued ? Number.POSITIVE_INFINITY : Math.max(cutMs, before?.firstMs ?? startMs),
      firstTokenByMs: after?.firstMs ?? Number.POSITIVE_INFINITY,
    };
  }

  #streams(engine: string): EngineStreams | null {
    const known = this.#byEngine.get(engine);
    if (known !== undefined) return known;
    if (this.#byEngine.size >= MAX_ENGINES) return null;
    const created: EngineStreams = { served: [], cut: [], waiting: [] };
    this.#byEngine.set(engine, created);
    return created;
  }
}
