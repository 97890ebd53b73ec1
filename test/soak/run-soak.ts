// Hours in minutes: many streams at once, clients that leave, engines that die and come back; then the books against the engines' own count.
import { Agent, fetch } from 'undici';
import { type Simulator, startSimulator } from '#simulator/start-simulator.ts';
import { createSeededRandom, type SeededRandom } from '#simulator/seeded-random.ts';
import { type TestStack, until } from '#test/support/gateway.ts';
import { readAllRecords, type SoakRecord } from './read-all-records.ts';
import { readRequestCounts } from './request-counts.ts';
import { startBoundedStack } from './start-bounded-stack.ts';
import { fitSlope, type ProcessSample, sampleProcess } from './watch-process.ts';

export interface SoakOptions {
  readonly seconds: number;
  /** Requests in flight at any time. */
  readonly streams: number;
  readonly seed: number;
  /** Seconds between two deaths of an engine. */
  readonly restartEverySeconds: number;
  readonly onProgress?: (sample: ProcessSample, requests: number) => void;
}

export interface SoakResult {
  readonly requests: number;
  readonly completed: number;
  readonly aborted: number;
  readonly failed: number;
  readonly engineRestarts: number;
  readonly descriptorsBefore: number;
  readonly descriptorsAfter: number;
  /** Least squares over the second half of the run. */
  readonly descriptorsPerMinute: number;
  readonly residentBytesPerMinute: number;
  readonly residentBytesBefore: number;
  readonly residentBytesAfter: number;
  readonly records: number;
  readonly reportedRequests: number;
  readonly differenceNanoUsd: string;
  /** Tokens of answers that clients got whole, and the same requests as their engines counted them. */
  readonly tokensRecorded: number;
  readonly tokensOfEngines: number;
  /** One line for each promise that was broken. */
  readonly problems: readonly string[];
}

/** Slow iterations with large steps: many open streams on a small machine. */
const ENGINE = {
  flavor: 'vllm',
  model: 'llama-3.1-8b',
  promptTokensDetails: true,
  profile: { iterationMs: 150 },
  networkOverheadMs: 0,
} as const;
const REPLICAS = 3;
const ABORT_SHARE = 0.2;

interface Tally {
  requests: number;
  completed: number;
  aborted: number;
  failed: number;
  /** Ids of answers that came whole. */
  readonly whole: Set<string>;
}

interface Truth {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** Runs the soak on a stack of its own, and settles the books at the end. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const stack = await startBoundedStack({
    engines: [{ ...ENGINE, replicas: REPLICAS }],
    config: { logging: { access: false, level: 'error' }, settlement: { horizon: '5s' } },
  });
  const engines: Simulator[] = [...stack.simulators];
  try {
    return await runOn(stack, engines, options);
  } finally {
    await stack.close().catch(() => {});
    await Promise.allSettled(engines.map((engine) => engine.close()));
  }
}

async function runOn(stack: TestStack, engines: Simulator[], options: SoakOptions): Promise<SoakResult> {
  const agent = new Agent({ connections: null });
  const tally: Tally = { requests: 0, completed: 0, aborted: 0, failed: 0, whole: new Set() };
  const truth = new Map<string, Truth>();
  const samples: ProcessSample[] = [];
  const startedAtMs = performance.now();
  const secondsNow = (): number => (performance.now() - startedAtMs) / 1000;
  const before = sampleProcess(stack.gateway().pid, 0);
  const timer = setInterval(() => {
    const sample = sampleProcess(stack.gateway().pid, secondsNow());
    samples.push(sample);
    options.onProgress?.(sample, tally.requests);
  }, 1000);
  const isOver = (): boolean => secondsNow() > options.seconds;
  const workers = Array.from({ length: options.streams }, async (_, index) => {
    const random = createSeededRandom(options.seed * 100_000 + index);
    while (!isOver()) await ask(stack, { random, tally, agent });
  });
  const restarts = restartEngines({ engines, truth, isOver, everyMs: options.restartEverySeconds * 1000 });
  await Promise.all(workers);
  const engineRestarts = await restarts;
  await until('nothing is in flight', async () => (await readRequestCounts(stack.adminUrl)).inFlight === 0);
  clearInterval(timer);
  await agent.destroy();
  // Idle connections to engines close after some seconds; what is left then was leaked.
  await until(
    'idle connections are closed',
    () => Promise.resolve(sampleProcess(stack.gateway().pid, 0).descriptors <= before.descriptors + 15),
    { limitMs: 20_000 },
  ).catch(() => {});
  const after = sampleProcess(stack.gateway().pid, secondsNow());
  for (const engine of engines) keepTruth(engine, truth);
  const books = await compareBooks(stack, tally, truth);
  const late = samples.slice(Math.floor(samples.length / 2));
  const { whole: _whole, ...counts } = tally;
  return {
    ...counts,
    engineRestarts,
    descriptorsBefore: before.descriptors,
    descriptorsAfter: after.descriptors,
    descriptorsPerMinute: 60 * fitSlope(late, ({ descriptors }) => descriptors),
    residentBytesPerMinute: 60 * fitSlope(late, ({ residentBytes }) => residentBytes),
    residentBytesBefore: samples[Math.min(4, samples.length - 1)]?.residentBytes ?? before.residentBytes,
    residentBytesAfter: after.residentBytes,
    ...books,
  };
}

/** One request of a worker: streamed or whole, read to its end or left on the way. */
async function ask(
  stack: TestStack,
  client: { readonly random: SeededRandom; readonly tally: Tally; readonly agent: Agent },
): Promise<void> {
  const { random, tally, agent } = client;
  const hangUp = new AbortController();
  const leaves = random.uniform() < ABORT_SHARE;
  const stream = random.uniform() < 0.8;
  const timer = leaves ? setTimeout(() => hangUp.abort(), random.exponential(1500)) : undefined;
  tally.requests += 1;
  try {
    const response = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      signal: hangUp.signal,
      dispatcher: agent,
      headers: { authorization: `Bearer ${stack.keys['search']}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: ENGINE.model,
        stream,
        max_tokens: 2 + Math.floor(random.exponential(15)),
        ignore_eos: true,
        messages: [
          { role: 'user', content: `Question ${random.uniform()}: `.repeat(1 + Math.floor(random.uniform() * 20)) },
        ],
      }),
    });
    const text = await response.text();
    const isWhole = response.ok && (stream ? text.endsWith('data: [DONE]\n\n') : text.endsWith('}'));
    const id = response.headers.get('x-inferometer-request-id');
    if (isWhole && id !== null) tally.whole.add(id);
    if (isWhole) tally.completed += 1;
    else tally.failed += 1;
  } catch {
    if (hangUp.signal.aborted) tally.aborted += 1;
    else tally.failed += 1;
  } finally {
    clearTimeout(timer);
  }
}

/** Kills one engine after the other and starts it again on its port; resolves with how often, once the run is over. */
async function restartEngines(run: {
  readonly engines: Simulator[];
  readonly truth: Map<string, Truth>;
  readonly isOver: () => boolean;
  readonly everyMs: number;
}): Promise<number> {
  let count = 0;
  let dueAtMs = performance.now() + run.everyMs;
  while (!run.isOver()) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (performance.now() < dueAtMs) continue;
    dueAtMs += run.everyMs;
    const index = count % run.engines.length;
    const engine = run.engines[index];
    if (engine === undefined) continue;
    await engine.close();
    keepTruth(engine, run.truth);
    run.engines[index] = await startSimulator({ ...ENGINE, port: engine.port, seed: 1000 + count });
    count += 1;
  }
  return count;
}

function keepTruth(engine: Simulator, truth: Map<string, Truth>): void {
  for (const { requestId, promptTokens, completionTokens, aborted, finishedAtMs } of engine.truth().requests) {
    if (requestId !== null && !aborted && finishedAtMs !== null)
      truth.set(requestId, { promptTokens, completionTokens });
  }
}

type BooksResult = Pick<
  SoakResult,
  'records' | 'reportedRequests' | 'differenceNanoUsd' | 'tokensRecorded' | 'tokensOfEngines' | 'problems'
>;

/** Every request is in the report once, every whole answer has one completed record, and its tokens are those its engine counted. */
async function compareBooks(stack: TestStack, tally: Tally, truth: ReadonlyMap<string, Truth>): Promise<BooksResult> {
  await stack.settled(Date.now());
  const problems: string[] = [];
  const report = await stack.admin<{
    rows: { requests: number; abortedRequests: number; rejectedRequests: number }[];
    totals: { differenceNanoUsd: string };
  }>('/api/reports/chargeback?groupBy=team');
  const records = await readAllRecords(stack);
  const completed = new Map<string, SoakRecord>();
  for (const record of records) {
    if (record.outcome !== 'completed') continue;
    if (completed.has(record.requestId)) problems.push(`two completed records of ${record.requestId}`);
    completed.set(record.requestId, record);
  }
  let tokensRecorded = 0;
  let tokensOfEngines = 0;
  for (const id of tally.whole) {
    const record = completed.get(id);
    const engine = truth.get(id);
    if (record === undefined) problems.push(`no completed record of ${id}, which its client got whole`);
    if (engine === undefined) problems.push(`no engine knows ${id}, which its client got whole`);
    if (record === undefined || engine === undefined) continue;
    const input = (record.tokens.input ?? 0) + (record.tokens.cachedInput ?? 0);
    if (input !== engine.promptTokens || record.tokens.output !== engine.completionTokens)
      problems.push(
        `${id}: recorded ${input} + ${record.tokens.output} tokens, engine ${engine.promptTokens} + ${engine.completionTokens}`,
      );
    tokensRecorded += record.tokens.total ?? 0;
    tokensOfEngines += engine.promptTokens + engine.completionTokens;
  }
  if (!records.every(({ settled }) => settled)) problems.push('records are left unsettled');
  const distinct = new Set(records.map(({ requestId }) => requestId)).size;
  const reportedRequests = report.rows.reduce((sum, row) => sum + row.requests + row.rejectedRequests, 0);
  if (reportedRequests !== distinct)
    problems.push(`the report has ${reportedRequests} requests, the records ${distinct}`);
  // A client that left before its request was received is known to nobody but itself.
  if (distinct > tally.requests || distinct < tally.requests - tally.aborted - tally.failed)
    problems.push(`${tally.requests} were asked, ${distinct} are in the books`);
  const { differenceNanoUsd } = report.totals;
  if (differenceNanoUsd !== '0') problems.push(`the books are off by ${differenceNanoUsd} nanodollars`);
  return { records: records.length, reportedRequests, differenceNanoUsd, tokensRecorded, tokensOfEngines, problems };
}
