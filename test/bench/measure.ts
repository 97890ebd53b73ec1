// The measurements of one candidate: which load, and which figures come of it. Figures are plain numbers by name.
import { setTimeout as delay } from 'node:timers/promises';
import type { Candidate } from '#test/bench/candidate.ts';
import { CANDIDATE_CPU, CLIENT_CPU } from '#test/bench/child.ts';
import { runLoad, type LoadOptions, type LoadResult } from '#test/bench/native.ts';
import { type CpuTime, readCpuTime, readProcessUse } from '#test/bench/process-account.ts';

/** Every figure a candidate can have; the suffix is the unit. */
export const FIGURE_NAMES = [
  'requestsPerSecond',
  'cpuMicrosPerRequest',
  'latencyP50Micros',
  'latencyP99Micros',
  'cpuMicrosPerChunk10k',
  'chunkDelayP50Micros10k',
  'chunkDelayP99Micros10k',
  'cpuMicrosPerChunk25k',
  'cpuPercent25k',
  'chunksPerSecond25k',
  'cpuPercentChatUsers',
  'chunksPerSecond',
  'residentBytesPerStream',
  'residentBytesTotal',
] as const;
export type FigureName = (typeof FIGURE_NAMES)[number];
export type Figures = Partial<Record<FigureName, number>>;

/** A part of a run. `seconds` and `warmupSeconds` are the full ones; `quick` divides both. */
export interface Measurement {
  readonly name: string;
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** Its streams are still open when it ends: their work is sealed later. */
  readonly leavesStreamsOpen: boolean;
  measure(context: MeasureContext): Promise<Measured>;
}

/** Who is measured, and with what. */
export interface MeasureContext {
  readonly candidate: Candidate;
  readonly loadGenerator: string;
  readonly enginePid: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
}

/**
 * Figures, and shares (0 … 1) of the two CPUs: what limited is seen from them. `foreignCpuShare` is what programs that
 * are no part of the run took from either, `stolenCpuShare` what the host gave to other machines.
 */
export interface Measured {
  readonly figures: Figures;
  readonly candidateCpuShare: number;
  readonly clientCpuShare: number;
  readonly foreignCpuShare: number;
  readonly stolenCpuShare: number;
  readonly errors: number;
}

const EVENT_INTERVAL_MICROS = 20_000;
const CHAT_USERS = 1000;
/** 20 tokens per second each: faster than people read. */
const CHAT_INTERVAL_MICROS = 50_000;
/** Offered 60,000 chunks per second: as many as client and engine manage on their core. */
const SATURATING_STREAMS = 1200;
const OPEN_STREAMS = 2000;
const WARMUP_STREAMS = 20;
const SETTLE_MS = 500;

/**
 * In the order in which they must run: memory first, while the process is fresh; the paced load after the saturating
 * one, which has warmed the code up.
 */
export const MEASUREMENTS: readonly Measurement[] = [
  {
    name: 'memory of 2,000 open streams',
    warmupSeconds: 6,
    seconds: 2,
    leavesStreamsOpen: true,
    measure: measureMemory,
  },
  {
    name: 'saturation with requests',
    warmupSeconds: 12,
    seconds: 8,
    leavesStreamsOpen: false,
    measure: measureSaturation,
  },
  {
    name: '1,000 requests per second',
    warmupSeconds: 3,
    seconds: 30,
    leavesStreamsOpen: false,
    measure: measurePaced,
  },
  {
    name: '10,000 chunks per second',
    warmupSeconds: 3,
    seconds: 10,
    leavesStreamsOpen: true,
    measure: (context) => measureStreams(context, 200),
  },
  {
    name: '25,000 chunks per second',
    warmupSeconds: 3,
    seconds: 10,
    leavesStreamsOpen: true,
    measure: (context) => measureStreams(context, 500),
  },
  {
    name: '1,000 chat users',
    warmupSeconds: 4,
    seconds: 10,
    leavesStreamsOpen: true,
    measure: measureChatUsers,
  },
  {
    name: 'saturation with chunks',
    warmupSeconds: 5,
    seconds: 8,
    leavesStreamsOpen: true,
    measure: measureChunkSaturation,
  },
];

/** A chat request of 1,000 bytes; `intervalMicros` makes it a stream that outlasts every measurement. */
export function renderBody(intervalMicros?: number): string {
  const extra = intervalMicros === undefined ? '' : `,"stream":true,"bench_interval_us":${intervalMicros}`;
  const render = (content: string) =>
    `{"model":"bench","messages":[{"role":"user","content":"${content}"}],"max_tokens":1000000${extra}}`;
  return render('word '.repeat(200).slice(0, 1000 - render('').length));
}

interface Observed {
  readonly load: LoadResult;
  readonly cpuSeconds: number;
  readonly residentBytesAtEnd: number;
  readonly clientCpuShare: number;
  readonly foreignCpuShare: number;
  readonly stolenCpuShare: number;
}

/** Runs a load and reads the CPU time of candidate and engine at its two edges. */
async function observe(
  context: MeasureContext,
  load: Omit<LoadOptions, 'port' | 'key' | 'warmupSeconds' | 'seconds'>,
): Promise<Observed> {
  const { candidate, enginePid, loadGenerator, warmupSeconds, seconds } = context;
  const read = () => ({
    candidate: readProcessUse(candidate.pid),
    engine: readProcessUse(enginePid),
    cpus: [readCpuTime(CANDIDATE_CPU), readCpuTime(CLIENT_CPU)],
  });
  let before = read();
  let after = before;
  const result = await runLoad(
    loadGenerator,
    { ...load, port: candidate.port, key: candidate.key, warmupSeconds, seconds },
    { onBegin: () => (before = read()), onEnd: () => (after = read()) },
  );
  const cpuSeconds = after.candidate.cpuSeconds - before.candidate.cpuSeconds;
  const engineCpuSeconds = after.engine.cpuSeconds - before.engine.cpuSeconds;
  const ownBusySeconds = result.cpuSeconds + engineCpuSeconds + (candidate.pid === enginePid ? 0 : cpuSeconds);
  const spent = (what: keyof CpuTime) =>
    sumOf(after.cpus.map((cpu) => cpu[what])) - sumOf(before.cpus.map((cpu) => cpu[what]));
  return {
    load: result,
    cpuSeconds,
    residentBytesAtEnd: after.candidate.residentBytes,
    clientCpuShare: (result.cpuSeconds + engineCpuSeconds) / result.seconds,
    foreignCpuShare: Math.max(0, spent('busySeconds') - ownBusySeconds) / result.seconds,
    stolenCpuShare: spent('stolenSeconds') / result.seconds,
  };
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function toMeasured(seen: Observed, figures: Figures): Measured {
  const { load, cpuSeconds, clientCpuShare, foreignCpuShare, stolenCpuShare } = seen;
  const candidateCpuShare = cpuSeconds / load.seconds;
  return { figures, candidateCpuShare, clientCpuShare, foreignCpuShare, stolenCpuShare, errors: load.errors };
}

/** Quotient, or undefined where nothing was counted: unknown is not zero. */
function divide(value: number, count: number): { value: number } | undefined {
  return count > 0 ? { value: value / count } : undefined;
}

function figure(name: FigureName, value: number | undefined): Figures {
  return value === undefined ? {} : { [name]: value };
}

async function measureSaturation(context: MeasureContext): Promise<Measured> {
  const seen = await observe(context, { mode: 'closed', connections: 64, rate: 0, body: renderBody() });
  return toMeasured(seen, {
    requestsPerSecond: seen.load.requests / seen.load.seconds,
    ...figure('cpuMicrosPerRequest', divide(seen.cpuSeconds * 1e6, seen.load.requests)?.value),
  });
}

async function measurePaced(context: MeasureContext): Promise<Measured> {
  const seen = await observe(context, { mode: 'open', connections: 256, rate: 1000, body: renderBody() });
  const { p50, p99 } = seen.load.latencyMicros;
  return toMeasured(seen, { ...figure('latencyP50Micros', p50), ...figure('latencyP99Micros', p99) });
}

async function measureStreams(context: MeasureContext, streams: 200 | 500): Promise<Measured> {
  const seen = await observeStreams(context, streams, EVENT_INTERVAL_MICROS);
  const { load, cpuSeconds } = seen;
  const perChunk = divide(cpuSeconds * 1e6, load.chunks)?.value;
  if (streams === 200) {
    return toMeasured(seen, {
      ...figure('cpuMicrosPerChunk10k', perChunk),
      ...figure('chunkDelayP50Micros10k', load.chunkDelayMicros.p50),
      ...figure('chunkDelayP99Micros10k', load.chunkDelayMicros.p99),
    });
  }
  return toMeasured(seen, {
    ...figure('cpuMicrosPerChunk25k', perChunk),
    cpuPercent25k: (100 * cpuSeconds) / load.seconds,
    chunksPerSecond25k: load.chunks / load.seconds,
  });
}

async function measureChatUsers(context: MeasureContext): Promise<Measured> {
  const seen = await observeStreams(context, CHAT_USERS, CHAT_INTERVAL_MICROS);
  return toMeasured(seen, { cpuPercentChatUsers: (100 * seen.cpuSeconds) / seen.load.seconds });
}

async function measureChunkSaturation(context: MeasureContext): Promise<Measured> {
  const seen = await observeStreams(context, SATURATING_STREAMS, EVENT_INTERVAL_MICROS);
  return toMeasured(seen, { chunksPerSecond: seen.load.chunks / seen.load.seconds });
}

/** Streams that outlast the measurement, opened within half a second. */
function observeStreams(context: MeasureContext, streams: number, intervalMicros: number): Promise<Observed> {
  const load = { mode: 'open', connections: streams, rate: 2 * streams, body: renderBody(intervalMicros) } as const;
  return observe(context, load);
}

async function measureMemory(context: MeasureContext): Promise<Measured> {
  // A few streams first: what the first one loads and compiles belongs to the process, not to each stream.
  await observe(
    { ...context, warmupSeconds: 0.2, seconds: 0.5 },
    {
      mode: 'open',
      connections: WARMUP_STREAMS,
      rate: 200,
      body: renderBody(EVENT_INTERVAL_MICROS),
    },
  );
  await delay(SETTLE_MS);
  const residentBytesBefore = readProcessUse(context.candidate.pid).residentBytes;
  const rate = OPEN_STREAMS / Math.max(0.5, context.warmupSeconds - 2);
  const seen = await observe(context, { mode: 'open', connections: OPEN_STREAMS, rate, body: renderBody(1_000_000) });
  if (seen.load.open !== OPEN_STREAMS) throw new Error(`only ${seen.load.open} of ${OPEN_STREAMS} streams were open`);
  return toMeasured(seen, {
    residentBytesPerStream: (seen.residentBytesAtEnd - residentBytesBefore) / OPEN_STREAMS,
    residentBytesTotal: seen.residentBytesAtEnd,
  });
}
