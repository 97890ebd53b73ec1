// Runs a real EngineCore over planned traffic on virtual time: the truth of each request, and what a gateway would see of it on the wire.
// Not here: what a gateway makes of it (replay-trace.ts).
import { EngineCore, type Iteration } from '#simulator/engine-core.ts';
import { createRequestAccount, type RequestAccount, type Sequence } from '#simulator/engine-sequence.ts';
import { blockTokens } from '#simulator/pseudo-text.ts';
import { createSeededRandom, mixSeed, type SeededRandom } from '#simulator/seeded-random.ts';
import type { IterationRow } from '#telemetry/iteration-rows.ts';
import type { EngineShape } from './engine-shapes.ts';
import type { PlannedRequest } from './plan-traffic.ts';

/** One request on the wire, as its gateway saw it, and what it truly cost. Times are ms since the start of the run. */
export interface TracedRequest {
  readonly plan: PlannedRequest;
  /** Arrival at the gateway of each chunk of a stream, and the content events (tokens of it that the engine counts) in it. */
  readonly chunkAtMs: readonly number[];
  readonly chunkTokens: readonly number[];
  /** Arrival of the last byte, or the instant of the abort. */
  readonly endAtMs: number;
  readonly outcome: 'completed' | 'client_aborted' | 'interrupted';
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Shapley share of the engine's iterations, ms of the replica. */
  readonly trueMs: number;
}

/** A whole run. */
export interface EngineTrace {
  readonly shape: EngineShape;
  readonly requests: readonly TracedRequest[];
  /** Ms in which an iteration ran. */
  readonly busyMs: number;
  readonly endAtMs: number;
  readonly iterations: number;
  readonly preemptions: number;
  /** The engine's iteration rows in order, `writtenMs` by its own clock, which is ENGINE_CLOCK_MS ahead of the run's. */
  readonly rows: readonly IterationRow[];
}

/** An engine in another time zone, and a bit off. */
export const ENGINE_CLOCK_MS = 9 * 3_600_000 + 137;
/** From the end of an iteration to the row's timestamp. */
const ROW_DELAY_MS = 0.4;

/** A gateway that dies takes its connections with it: the engine stops those requests, the client asks no more. */
export interface Death {
  readonly atMs: number;
  readonly concerns: (request: PlannedRequest) => boolean;
}

/** From the end of an iteration to the gateway: detokenisation, HTTP, network; a few per mille are held up. */
const DOWNLINK_MEAN_MS = 1.5;
const DOWNLINK_CV = 0.8;
const HELD_UP_SHARE = 0.003;
const HELD_UP_MS = 40;
/** A hang-up takes this long to reach the engine. */
const ABORT_MS = 2;

/** Runs the traffic to its end; the same plan and shape give the same trace. */
export function runEngine(
  shape: EngineShape,
  traffic: readonly PlannedRequest[],
  death: Death | null = null,
): EngineTrace {
  return new VirtualWire(shape, traffic, death).run();
}

interface Flight {
  readonly plan: PlannedRequest;
  readonly account: RequestAccount;
  readonly chunkAtMs: number[];
  readonly chunkTokens: number[];
  held: number;
  heldLimit: number;
  sequence: Sequence | null;
  endAtMs: number | null;
  outcome: TracedRequest['outcome'];
  aborted: boolean;
}

class VirtualWire {
  readonly #shape: EngineShape;
  readonly #core: EngineCore;
  readonly #random: SeededRandom;
  readonly #flights: Flight[];
  readonly #death: Death | null;
  readonly #rows: IterationRow[] = [];
  /** Hang-ups on their way to the engine, ascending. */
  #aborts: { readonly atMs: number; readonly flight: Flight }[] = [];

  constructor(shape: EngineShape, traffic: readonly PlannedRequest[], death: Death | null) {
    this.#shape = shape;
    this.#death = death;
    this.#core = new EngineCore(shape.settings, (iteration) => this.#rows.push(this.#toRow(iteration)));
    this.#random = createSeededRandom(mixSeed(shape.settings.seed, 5));
    this.#flights = traffic
      .toSorted((a, b) => a.sentAtMs + a.uplinkMs - (b.sentAtMs + b.uplinkMs))
      .map((plan) => ({
        plan,
        account: createRequestAccount(),
        chunkAtMs: [],
        chunkTokens: [],
        held: 0,
        heldLimit: 1,
        sequence: null,
        endAtMs: null,
        outcome: 'completed',
        aborted: false,
      }));
  }

  run(): EngineTrace {
    let arrived = 0;
    let nowMs = 0;
    let died = this.#death === null;
    for (;;) {
      const engineMs = this.#core.step(nowMs) ?? Infinity;
      const next = this.#flights[arrived];
      const arrivalMs = next === undefined ? Infinity : next.plan.sentAtMs + next.plan.uplinkMs;
      const abortMs = this.#aborts[0]?.atMs ?? Infinity;
      const deathMs = died ? Infinity : (this.#death?.atMs ?? Infinity);
      nowMs = Math.max(nowMs, Math.min(engineMs, arrivalMs, abortMs, deathMs));
      if (nowMs === Infinity || (next === undefined && engineMs === Infinity && abortMs === Infinity)) break;
      if (deathMs <= nowMs) {
        died = true;
        this.#die(nowMs);
      } else if (abortMs <= nowMs) this.#abort();
      else if (next !== undefined && arrivalMs <= nowMs) {
        arrived += 1;
        this.#submit(next, arrivalMs);
      }
    }
    return this.#read();
  }

  #submit(flight: Flight, arrivedAtMs: number): void {
    if (flight.aborted) return;
    const { plan, account } = flight;
    flight.sequence = this.#core.submit({
      promptTokens: plan.promptTokens,
      promptBlocks: plan.promptBlocks,
      outputTokens: plan.outputTokens,
      arrivedAtMs,
      account,
      listener: {
        onToken: (index, atMs) => this.#token(flight, index, atMs),
        onFinish: (atMs) => {
          if (flight.endAtMs === null) flight.endAtMs = this.#arrivalOf(flight, atMs);
        },
      },
    });
  }

  #token(flight: Flight, index: number, atMs: number): void {
    const { plan } = flight;
    if (!plan.stream || flight.endAtMs !== null) return;
    flight.held += 1;
    // The first token leaves at once; later ones wait until the chunk is full or the answer ends.
    if (index > 0 && index < plan.outputTokens - 1 && flight.held < flight.heldLimit) return;
    flight.chunkAtMs.push(this.#arrivalOf(flight, atMs));
    flight.chunkTokens.push(flight.held);
    flight.held = 0;
    flight.heldLimit = 1 + Math.floor(this.#random.uniform() * plan.chunkTokensMax);
    if (plan.abortAfterChunks === flight.chunkAtMs.length) this.#hangUp(flight, 'client_aborted');
  }

  #arrivalOf(flight: Flight, atMs: number): number {
    const heldUpMs = this.#random.uniform() < HELD_UP_SHARE ? this.#random.exponential(HELD_UP_MS) : 0;
    const arrivalMs = atMs + this.#random.logNormal(DOWNLINK_MEAN_MS, DOWNLINK_CV) + heldUpMs;
    return Math.max(arrivalMs, flight.chunkAtMs.at(-1) ?? 0);
  }

  #hangUp(flight: Flight, outcome: TracedRequest['outcome'], atMs = flight.chunkAtMs.at(-1) ?? 0): void {
    flight.endAtMs = atMs;
    flight.outcome = outcome;
    this.#aborts = [...this.#aborts, { atMs: atMs + ABORT_MS, flight }].toSorted((a, b) => a.atMs - b.atMs);
  }

  #abort(): void {
    const flight = this.#aborts.shift()?.flight;
    if (flight === undefined) return;
    flight.aborted = true;
    if (flight.sequence !== null) this.#core.abort(flight.sequence);
  }

  #die(atMs: number): void {
    for (const flight of this.#flights) {
      const { plan, endAtMs } = flight;
      if (plan.sentAtMs > atMs || this.#death?.concerns(plan) !== true) continue;
      // An answer on its way at that instant is lost with the process as well.
      if (endAtMs !== null && endAtMs <= atMs) continue;
      dropAfter(flight, atMs);
      this.#hangUp(flight, 'interrupted', atMs);
    }
  }

  #read(): EngineTrace {
    const requests = this.#flights
      .toSorted((a, b) => a.plan.id - b.plan.id)
      .map((flight) => ({
        plan: flight.plan,
        chunkAtMs: flight.chunkAtMs,
        chunkTokens: flight.chunkTokens,
        endAtMs: flight.endAtMs ?? Infinity,
        outcome: flight.outcome,
        cachedTokens: flight.account.cachedTokens,
        completionTokens: flight.account.completionTokens,
        trueMs: flight.account.prefillMs + flight.account.decodeMs,
      }));
    return {
      shape: this.#shape,
      requests,
      busyMs: this.#core.busyMs,
      endAtMs: requests.reduce((latest, request) => Math.max(latest, request.endAtMs), 0),
      iterations: this.#core.iterations,
      preemptions: this.#core.preemptions,
      rows: this.#rows,
    };
  }

  #toRow({ number, endMs, durationMs, members }: Iteration): IterationRow {
    const prefills = members.filter(({ prefillTokens }) => prefillTokens > 0);
    return {
      iteration: number,
      writtenMs: endMs + ROW_DELAY_MS + ENGINE_CLOCK_MS,
      gpuMs: durationMs,
      forwardMs: durationMs,
      prefillTokens: prefills.reduce((sum, { prefillTokens }) => sum + prefillTokens, 0),
      prefilling: prefills.length,
      decoding: members.length - prefills.length,
      cachedTokens: this.#core.kvBlocks.used * blockTokens,
      blockTokens,
    };
  }
}

function dropAfter(flight: Flight, atMs: number): void {
  const kept = flight.chunkAtMs.findIndex((chunkMs) => chunkMs > atMs);
  if (kept === -1) return;
  flight.chunkAtMs.length = kept;
  flight.chunkTokens.length = kept;
}
