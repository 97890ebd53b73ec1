// A simulated engine on virtual time, polled as a gateway polls it: its iteration rows beside its requests' step times, and what each iteration truly was.
// Not here: what is asserted of it.
import type { WorkCounts } from '#attribution/learn-sample.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { EngineCore, type EngineSettings, type Iteration } from '#simulator/engine-core.ts';
import { createRequestAccount, type Sequence } from '#simulator/engine-sequence.ts';
import { IterationLog } from '#simulator/iteration-log.ts';
import { blockTokens } from '#simulator/pseudo-text.ts';
import { RequestTimingLog } from '#simulator/request-timing-log.ts';
import { createSeededRandom } from '#simulator/seeded-random.ts';
import { IterationMembers } from '#telemetry/iteration-members.ts';
import { type ExactIteration, IterationProfile } from '#telemetry/iteration-profile.ts';
import { parseIterationRows } from '#telemetry/iteration-rows.ts';
import { parseRequestTimings } from '#telemetry/request-timings.ts';

type Entry = Record<string, unknown>;

export interface WatchOptions {
  readonly coefficients: EngineProfile;
  readonly settings?: Partial<EngineSettings>;
  /** Part of the requests that are cut off, and of the prompts that begin as an earlier one. */
  readonly abortPart?: number;
  readonly repeatPart?: number;
  /** What becomes of the entries of one poll, and of its rows, on the way. */
  readonly passEntries?: (entries: readonly Entry[]) => readonly Entry[];
  readonly passRows?: (rows: readonly Entry[]) => readonly Entry[];
  /** Requests a second; default up to seven and down again. */
  readonly rate?: (atMs: number) => number;
  readonly seed?: number;
}

/** What an iteration truly was. */
export interface TrueIteration {
  readonly work: WorkCounts;
  readonly members: number;
  /** Σ of the contexts that its chunks ended at. */
  readonly chunkEnds: number;
  readonly durationMs: number;
}

export interface WatchedEngine {
  readonly exact: readonly ExactIteration[];
  readonly truth: ReadonlyMap<number, TrueIteration>;
  /** The most that was kept at any time, and what is at the end. */
  readonly most: IterationMembers['size'];
  readonly end: IterationMembers['size'];
  /** Learned with entries, and from the rows alone. */
  readonly profile: IterationProfile;
  readonly fromRows: IterationProfile;
  readonly preemptions: number;
}

const POLL_MS = 500;
/** Requests arrive at multiples of it. */
const STRIDE_MS = 2;
const TRAFFIC_MS = 300_000;
/** Polls after the traffic, until no row waits and no group is kept any more. */
const QUIET_MS = 200_000;

/** What the engine answers to each poll of `/metrics` and `/perf_metrics`, as JSON. */
export interface Poll {
  readonly rows: string;
  readonly entries: string;
}

/** Five minutes of traffic, polled twice a second to its end. */
export function recordPolls(options: WatchOptions): readonly Poll[] {
  return [...runPolls(options)].map(({ poll }) => poll);
}

/** The same, read as a gateway reads it, beside what was true. */
export function watchEngine(options: WatchOptions): WatchedEngine {
  const [profile, fromRows, members] = [new IterationProfile(), new IterationProfile(), new IterationMembers()];
  const truth = new Map<number, TrueIteration>();
  const exact: ExactIteration[] = [];
  let most = members.size;
  let preemptions = 0;
  for (const { poll, atMs, core, iterations } of runPolls(options)) {
    for (const iteration of iterations) truth.set(iteration.number, measureIteration(iteration));
    const rows = parseIterationRows(poll.rows) ?? [];
    const given = members.take(rows, parseRequestTimings(poll.entries)?.timings ?? [], atMs);
    exact.push(...given);
    profile.take(rows);
    profile.takeExact(given);
    fromRows.take(rows);
    most = maximum(most, members.size);
    ({ preemptions } = core);
  }
  return { exact, truth, most, end: members.size, profile, fromRows, preemptions };
}

function* runPolls(options: WatchOptions) {
  const settings: EngineSettings = {
    coefficients: options.coefficients,
    noiseCv: 0.04,
    maxSequences: 128,
    tokenBudget: 2048,
    kvCapacityTokens: 400_000,
    prefixCache: true,
    maxQueued: 1e6,
    seed: 5,
    ...options.settings,
  };
  const { passEntries = (entries) => entries, passRows = (rows) => rows } = options;
  const log = new IterationLog(settings);
  const timings = new RequestTimingLog(1000);
  let iterations: Iteration[] = [];
  const core: EngineCore = new EngineCore(settings, (iteration) => {
    log.append(iteration, core);
    timings.append(iteration);
    iterations.push(iteration);
  });
  const submit = createTraffic(core, { timings, ...options });
  for (let atMs = 0; atMs < TRAFFIC_MS + QUIET_MS; atMs += POLL_MS) {
    if (atMs < TRAFFIC_MS) submit(atMs);
    core.step(atMs + POLL_MS);
    const poll: Poll = {
      rows: JSON.stringify(passRows(log.drainRows())),
      entries: JSON.stringify(passEntries(timings.drain())),
    };
    yield { poll, atMs: atMs + POLL_MS, core, iterations };
    iterations = [];
  }
}

function maximum(a: IterationMembers['size'], b: IterationMembers['size']): IterationMembers['size'] {
  return {
    rows: Math.max(a.rows, b.rows),
    waiting: Math.max(a.waiting, b.waiting),
    memberships: Math.max(a.memberships, b.memberships),
  };
}

function createTraffic(
  core: EngineCore,
  { timings, ...options }: WatchOptions & { readonly timings: RequestTimingLog },
): (atMs: number) => void {
  const { abortPart = 0, repeatPart = 0, seed = 9 } = options;
  // One request in three seconds up to seven a second.
  const { rate = (atMs: number) => 0.15 + 3.5 * (1 + Math.sin(atMs / 40_000)) } = options;
  const random = createSeededRandom(seed);
  const cut: { readonly sequence: Sequence; readonly atMs: number }[] = [];
  let prefix: number[] = [];
  let requests = 0;
  return (atMs) => {
    for (const { sequence } of cut.splice(0, cut.findLastIndex((next) => next.atMs <= atMs) + 1)) core.abort(sequence);
    const chance = (rate(atMs) * STRIDE_MS) / 1000;
    for (let arrivedAtMs = atMs; arrivedAtMs < atMs + POLL_MS; arrivedAtMs += STRIDE_MS) {
      if (random.uniform() > chance) continue;
      requests += 1;
      const id = requests;
      const promptTokens = 20 + Math.floor(6000 * random.uniform() ** 3);
      const blocks = Array.from({ length: Math.floor(promptTokens / blockTokens) }, (_, index) => id * 1e6 + index);
      const promptBlocks = random.uniform() < repeatPart ? [...prefix, ...blocks].slice(0, blocks.length) : blocks;
      if (random.uniform() < 0.2) prefix = promptBlocks.slice(0, 100);
      const sequence = core.submit({
        promptTokens,
        promptBlocks,
        outputTokens: 20 + Math.floor(500 * random.uniform()),
        arrivedAtMs,
        account: createRequestAccount(),
        listener: { onToken: () => {}, onFinish: () => timings.finish(sequence, id) },
      });
      if (random.uniform() < abortPart) cut.push({ sequence, atMs: atMs + 2000 });
    }
  };
}

function measureIteration({ members, durationMs }: Iteration): TrueIteration {
  const [chunks, decoders] = [true, false].map((isChunk) => members.filter((one) => one.prefillTokens > 0 === isChunk));
  const sum = (list: typeof chunks, of: (tokens: number, context: number) => number): number =>
    (list ?? []).reduce((total, { prefillTokens, contextTokens }) => total + of(prefillTokens, contextTokens), 0);
  const prefilled = sum(chunks, (tokens) => tokens);
  const squares = sum(chunks, (tokens, context) => tokens * (2 * context + tokens));
  const chunkEnds = sum(chunks, (tokens, context) => tokens + context);
  const read = sum(decoders, (_, length) => length);
  return {
    work: [1, prefilled, squares, decoders?.length ?? 0, read],
    members: members.length,
    chunkEnds,
    durationMs,
  };
}
