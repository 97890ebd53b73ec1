// Drains the step times of an engine's ended requests, found by trying: without them everything goes on as before, and that is said once.
// Not here: what they are for (iteration-members.ts), the iteration rows that they go with (engine-reader.ts).
import type { Clock } from '#domain/clock.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { Log } from '#domain/log.ts';
import type { Dispatcher } from 'undici';
import { fetchStatistics } from './fetch-statistics.ts';
import { parseRequestTimings, type RequestTiming } from './request-timings.ts';
import type { StatisticsTarget } from './statistics-targets.ts';

/** The engine answers from memory. */
export const TIMINGS_TIMEOUT_MS = 2000;
/** An engine that tells nothing is asked this often. */
const REST_MS = 60_000;
/** Answers without any entry while the engine worked, and entries without step times, before it is taken for one that tells nothing. */
const EMPTY_MAX = 120;
const UNTIMED_MAX = 8;
/** Answers in a row that did not come whole: the first may hold all that the engine ever kept. */
const FAILURES_MAX = 3;
/** What is parsed at once beside requests; what is longer is lost, and its iterations are estimated from their rows. */
const PAGE_BYTES_MAX = 4 * 1024 * 1024;

export interface RequestTimingsOptions {
  readonly target: StatisticsTarget;
  readonly traits: EngineTraits;
  readonly dispatcher: Dispatcher;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
}

/** State of one engine between two leases. */
export class RequestTimingsReader {
  readonly #options: RequestTimingsOptions;
  #nextAtMs = Number.NEGATIVE_INFINITY;
  #empty = 0;
  #untimed = 0;
  #failures = 0;
  #isTold = false;

  constructor(options: RequestTimingsOptions) {
    this.#options = options;
  }

  /** Those that ended since the last answer; none where the engine does not tell. `isBusy`: it worked meanwhile. Never rejects. */
  async read(isBusy: boolean): Promise<readonly RequestTiming[]> {
    const { target, traits, dispatcher, clock } = this.#options;
    const { requestTimingsPath } = traits;
    if (requestTimingsPath === undefined || clock.monotonicMs() < this.#nextAtMs) return [];
    const path = new URL(target.upstream.url).pathname.replace(/\/+$/, '') + requestTimingsPath;
    try {
      const limits = { timeoutMs: TIMINGS_TIMEOUT_MS, bytesMax: PAGE_BYTES_MAX };
      const page = await fetchStatistics({ dispatcher, path, upstream: target.upstream, ...limits });
      this.#failures = 0;
      const parsed = page.status === 200 ? parseRequestTimings(page.text) : null;
      if (parsed === null) this.#rest(page.status === 200 ? 'the page is no list' : `status ${page.status}`);
      else this.#judge(parsed.entries, parsed.timings.length, isBusy);
      return parsed?.timings ?? [];
    } catch (error) {
      this.#failures += 1;
      if (this.#failures >= FAILURES_MAX) this.#rest(error instanceof Error ? error.message : String(error));
      return [];
    }
  }

  #judge(entries: number, timed: number, isBusy: boolean): void {
    if (timed > 0) {
      this.#empty = 0;
      this.#untimed = 0;
      this.#nextAtMs = Number.NEGATIVE_INFINITY;
      if (this.#isTold) this.#options.log.info(this.#labels(), 'step times of requests can be read again');
      this.#isTold = false;
      return;
    }
    if (entries > 0) this.#untimed += entries;
    else if (isBusy) this.#empty += 1;
    if (this.#untimed >= UNTIMED_MAX) this.#rest('entries hold no step times');
    else if (this.#empty >= EMPTY_MAX)
      this.#rest('no entries: are return_perf_metrics and perf_metrics_max_requests set?');
  }

  #rest(reason: string): void {
    this.#nextAtMs = this.#options.clock.monotonicMs() + REST_MS;
    if (this.#isTold) return;
    this.#isTold = true;
    this.#options.log.info(
      { ...this.#labels(), reason },
      'the engine tells no step times of requests; its profile is read from iteration rows alone',
    );
  }

  #labels(): { readonly deployment: string; readonly upstream: string } {
    const { deployment, upstream } = this.#options.target;
    return { deployment: deployment.name, upstream: upstream.name };
  }
}
