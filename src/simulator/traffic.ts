// Lives here: the traffic generator: teams' requests at Poisson times against a gateway or an engine, and what came back.
// Not here: what the requests look like (traffic-profiles.ts) and how one is sent (send-request.ts).
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from 'undici';
import { createSeededRandom, mixSeed } from './seeded-random.ts';
import { sendRequest } from './send-request.ts';
import type { TrafficRecord } from './send-request.ts';
import { planRequest, trafficProfiles } from './traffic-profiles.ts';
import type { TrafficProfileName } from './traffic-profiles.ts';

export type { TrafficRecord, UsageSeen } from './send-request.ts';
export type { TrafficProfileName } from './traffic-profiles.ts';

/** One team and how it uses the service. */
export interface TrafficTeam {
  readonly team: string;
  /** Bearer token; without one no Authorization header is sent. */
  readonly apiKey?: string;
  /** Name sent as `model`. */
  readonly model: string;
  readonly profile: TrafficProfileName;
  /** Mean rate of the Poisson arrivals. */
  readonly requestsPerSecond: number;
  /** Factor on the output lengths; default 1. Less than 1 fits a demo of seconds. */
  readonly scale?: number;
  /** Factor on the prompt lengths; default 1. */
  readonly promptScale?: number;
  /** Share of streams whose client hangs up midway; default 0. */
  readonly abortShare?: number;
  /** Whether streams ask for usage; default true. */
  readonly askUsage?: boolean;
}

/** What to send, where, for how long. */
export interface TrafficOptions {
  readonly baseUrl: string;
  /** Time in which requests start, ms; those in flight are waited for. */
  readonly durationMs: number;
  readonly teams: readonly TrafficTeam[];
  readonly seed: number;
  /** Requests in flight at most; an arrival beyond is skipped and counted. Default 256. */
  readonly maxInFlight?: number;
  /** Time the requests in flight get after `durationMs`, then they are aborted; default 60 000. */
  readonly drainMs?: number;
  /** Told about ten times a second how far the run is (0 to 1). */
  readonly onProgress?: (progress: TrafficProgress) => void;
  /** Stops starting requests and aborts those in flight. */
  readonly signal?: AbortSignal;
}

export interface TrafficProgress {
  /** Share of `durationMs` that has passed, at most 1. */
  readonly elapsedShare: number;
  readonly started: number;
  readonly ended: number;
  readonly inFlight: number;
}

/** What one team's traffic came to. */
export interface TeamSummary {
  readonly team: string;
  readonly requests: number;
  readonly completed: number;
  readonly failed: number;
  readonly aborted: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** What came of a run. Instants are epoch ms. */
export interface TrafficSummary {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Arrivals not sent because `maxInFlight` requests were in flight. */
  readonly skipped: number;
  readonly teams: readonly TeamSummary[];
  /** The newest 100 000 requests in the order they ended. */
  readonly requests: readonly TrafficRecord[];
}

const recordsMax = 100_000;
const progressEveryMs = 100;

/** Runs the traffic and resolves when all of it has ended. A refused or broken request is a record, never a rejection. */
export async function runTraffic(options: TrafficOptions): Promise<TrafficSummary> {
  const run = new TrafficRun(options);
  return run.complete();
}

class TrafficRun {
  readonly #options: TrafficOptions;
  readonly #maxInFlight: number;
  readonly #stop = new AbortController();
  readonly #dispatcher: Agent;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #records: TrafficRecord[] = [];
  readonly #teams = new Map<string, Tally>();
  readonly #startedAtMs = Date.now();
  readonly #startedAt = performance.now();
  #started = 0;
  #skipped = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#maxInFlight = options.maxInFlight ?? 256;
    this.#dispatcher = new Agent({ connections: this.#maxInFlight, pipelining: 1, bodyTimeout: 0, headersTimeout: 0 });
    for (const { team } of options.teams) this.#teams.set(team, createTally());
  }

  async complete(): Promise<TrafficSummary> {
    const { durationMs, signal, teams, drainMs = 60_000 } = this.#options;
    const stopNow = (): void => this.#stop.abort();
    if (signal?.aborted === true) stopNow();
    signal?.addEventListener('abort', stopNow, { once: true });
    const progress = setInterval(() => this.#report(), progressEveryMs);
    try {
      await Promise.all(teams.map((team, index) => this.#sendArrivals(team, index, durationMs)));
      const drained = Promise.all(this.#inFlight).then(() => true);
      const late = sleep(drainMs, false, { ref: false });
      if (!(await Promise.race([drained, late]))) stopNow();
      await Promise.all(this.#inFlight);
    } finally {
      clearInterval(progress);
      signal?.removeEventListener('abort', stopNow);
      await this.#dispatcher.close();
    }
    this.#report();
    return this.#summarise();
  }

  async #sendArrivals(team: TrafficTeam, index: number, durationMs: number): Promise<void> {
    const teamSeed = mixSeed(this.#options.seed, index);
    const arrivals = createSeededRandom(teamSeed);
    const shapes = createSeededRandom(mixSeed(teamSeed, 1));
    if (team.requestsPerSecond <= 0) return;
    // Absolute instants: a late timer does not thin out the arrivals after it.
    let dueMs = arrivals.exponential(1000 / team.requestsPerSecond);
    while (dueMs < durationMs) {
      const waitMs = this.#startedAt + dueMs - performance.now();
      if (waitMs > 0 && !(await this.#sleepUnlessStopped(waitMs))) return;
      if (this.#stop.signal.aborted) return;
      const plan = planRequest(trafficProfiles[team.profile], shapes, {
        seed: teamSeed,
        outputScale: team.scale ?? 1,
        promptScale: team.promptScale ?? 1,
        abortShare: team.abortShare ?? 0,
      });
      if (this.#inFlight.size >= this.#maxInFlight) this.#skipped += 1;
      else this.#send(team, plan);
      dueMs += arrivals.exponential(1000 / team.requestsPerSecond);
    }
  }

  async #sleepUnlessStopped(waitMs: number): Promise<boolean> {
    try {
      return await sleep(waitMs, true, { signal: this.#stop.signal });
    } catch {
      // The only way this timer fails is that the run was stopped.
      return false;
    }
  }

  #send(team: TrafficTeam, plan: ReturnType<typeof planRequest>): void {
    this.#started += 1;
    const sending = sendRequest({
      baseUrl: this.#options.baseUrl,
      dispatcher: this.#dispatcher,
      signal: this.#stop.signal,
      team,
      plan,
    }).then((record) => {
      this.#inFlight.delete(sending);
      this.#keep(record);
    });
    this.#inFlight.add(sending);
  }

  #keep(record: TrafficRecord): void {
    if (this.#records.length >= recordsMax) this.#records.shift();
    this.#records.push(record);
    const tally = this.#teams.get(record.team);
    if (tally === undefined) return;
    tally.requests += 1;
    tally[record.outcome] += 1;
    tally.promptTokens += record.usage?.promptTokens ?? 0;
    tally.completionTokens += record.usage?.completionTokens ?? 0;
  }

  #report(): void {
    this.#options.onProgress?.({
      elapsedShare: Math.min(1, (performance.now() - this.#startedAt) / this.#options.durationMs),
      started: this.#started,
      ended: this.#started - this.#inFlight.size,
      inFlight: this.#inFlight.size,
    });
  }

  #summarise(): TrafficSummary {
    return {
      startedAtMs: this.#startedAtMs,
      endedAtMs: Date.now(),
      skipped: this.#skipped,
      teams: [...this.#teams].map(([team, tally]) => ({ team, ...tally })),
      requests: this.#records,
    };
  }
}

interface Tally {
  requests: number;
  completed: number;
  failed: number;
  aborted: number;
  promptTokens: number;
  completionTokens: number;
}

function createTally(): Tally {
  return { requests: 0, completed: 0, failed: 0, aborted: 0, promptTokens: 0, completionTokens: 0 };
}
