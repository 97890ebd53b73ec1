// Malformed requests against the real gateway process: each is answered or closed in time, none crashes it, and none that passed
// authentication or reached an engine goes without its one record.
import { type FakeEngine, startFakeEngine } from '#test/support/fake-engine.ts';
import { type TestStack, until } from '#test/support/gateway.ts';
import { startBoundedStack } from './start-bounded-stack.ts';
import { openRaw } from '#test/support/raw-http.ts';
import { createFuzzCase, type FuzzCase } from './fuzz-cases.ts';
import { readAllRecords, type SoakRecord } from './read-all-records.ts';
import { readRequestCounts } from './request-counts.ts';
import { sampleProcess } from './watch-process.ts';

export interface FuzzOptions {
  readonly seed: number;
  /** Number of the first case, and how many. */
  readonly first: number;
  readonly cases: number;
  readonly concurrency: number;
  /** Told after each batch. */
  readonly onProgress?: (done: number, residentBytes: number) => void;
  /** Told the bytes of each case and what came back. */
  readonly onCase?: (played: PlayedCase) => void;
}

export interface PlayedCase {
  readonly fuzzCase: FuzzCase;
  /** What came back, one character per byte. */
  readonly text: string;
  readonly answers: readonly Answer[];
  /** False where the connection was neither answered nor closed in time. */
  readonly ended: boolean;
}

interface Answer {
  readonly status: number;
  /** `x-inferometer-request-id`; null without. */
  readonly requestId: string | null;
  readonly isRouted: boolean;
  readonly isHtml: boolean;
}

export interface FuzzResult {
  readonly cases: number;
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly records: number;
  readonly engineRequests: number;
  readonly residentBytesBefore: number;
  readonly residentBytesAfter: number;
  readonly descriptorsBefore: number;
  readonly descriptorsAfter: number;
  /** One line for each promise that was broken; empty when all is well. */
  readonly problems: readonly string[];
}

const BATCH = 200;
/** A request that is complete is answered in far less; one that is not must end soon after its client said that nothing follows. */
const QUIET_MS = 40;
const SILENT_MS = 150;
const HANG_MS = 8000;

/** Runs cases on a gateway of its own. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzResult> {
  const engine = await startFakeEngine();
  const common = { gpu: 'H100-SXM', upstreams: [{ url: engine.url, name: 'fake-1' }] };
  const deployments = [
    { ...common, name: 'fake', models: ['fake'], engine: 'tensorrt-llm' },
    { ...common, name: 'ranker', models: ['ranker'], engine: 'triton', work: 'duration' },
  ];
  const stack = await startBoundedStack({
    engines: [],
    config: { deployments, logging: { access: false, level: 'error' } },
  });
  try {
    return await runOn(stack, engine, options);
  } finally {
    await stack.close();
    await engine.close();
  }
}

async function runOn(stack: TestStack, engine: FakeEngine, options: FuzzOptions): Promise<FuzzResult> {
  const port = Number(new URL(stack.gatewayUrl).port);
  const key = stack.keys['search'] ?? '';
  const problems: string[] = [];
  const statuses: Record<string, number> = {};
  const owed = new Map<string, string>();
  await checkAlive(port, key);
  const before = sampleProcess(stack.gateway().pid, 0);
  const last = options.first + options.cases;
  for (let from = options.first; from < last; from += BATCH) {
    let next = from;
    const play = async (): Promise<void> => {
      while (next < Math.min(from + BATCH, last)) {
        const fuzzCase = createFuzzCase({ key, model: 'fake' }, options.seed, next);
        next += 1;
        const played = await playCase(port, fuzzCase);
        options.onCase?.(played);
        judge(played, { problems, statuses, owed });
      }
    };
    await Promise.all(Array.from({ length: options.concurrency }, play));
    if (!(await checkAlive(port, key))) problems.push(`no answer to a sound request after case ${next - 1}`);
    options.onProgress?.(next - options.first, sampleProcess(stack.gateway().pid, next).residentBytes);
  }
  const records = await compareBooks(stack, engine, { problems, owed });
  const after = sampleProcess(stack.gateway().pid, last);
  return {
    cases: options.cases,
    statuses,
    records,
    engineRequests: engine.requests.length,
    residentBytesBefore: before.residentBytes,
    residentBytesAfter: after.residentBytes,
    descriptorsBefore: before.descriptors,
    descriptorsAfter: after.descriptors,
    problems,
  };
}

/** Sends one case, reads what comes, says that nothing follows, and waits for the end. */
async function playCase(port: number, fuzzCase: FuzzCase): Promise<PlayedCase> {
  const [first = Buffer.alloc(0), ...rest] = fuzzCase.pieces;
  const client = openRaw(port, first);
  for (const piece of rest) {
    await new Promise((resolve) => setImmediate(resolve));
    client.write(piece);
  }
  const startedAtMs = performance.now();
  let seenAtMs = startedAtMs;
  let length = 0;
  while (!client.isClosed() && performance.now() - seenAtMs < (length > 0 ? QUIET_MS : SILENT_MS)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (client.text().length === length) continue;
    length = client.text().length;
    seenAtMs = performance.now();
  }
  client.halfClose();
  const timer = new Promise<false>((resolve) => void setTimeout(() => resolve(false), HANG_MS).unref());
  const ended = (await Promise.race([client.closed.then(() => true), timer])) !== false;
  client.hangUp();
  const text = client.text();
  return { fuzzCase, text, answers: readAnswers(text), ended };
}

function readAnswers(text: string): Answer[] {
  return Array.from(
    text.matchAll(/HTTP\/1\.1 (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/g),
    ([, status, head = '']) => ({
      status: Number(status),
      requestId: /^x-inferometer-request-id: (\S+)/im.exec(head)?.[1] ?? null,
      isRouted: /^x-inferometer-deployment:/im.test(head),
      isHtml: /^content-type: text\/html/im.test(head),
    }),
  );
}

interface Findings {
  readonly problems: string[];
  readonly statuses: Record<string, number>;
  /** Request ids that must have a record, with the case they came from. */
  readonly owed: Map<string, string>;
}

function judge({ fuzzCase, text, answers, ended }: PlayedCase, { problems, statuses, owed }: Findings): void {
  const name = `--seed ${fuzzCase.seed} --case ${fuzzCase.number}`;
  if (!ended) problems.push(`${name}: neither answered nor closed in ${HANG_MS} ms`);
  if (text !== '' && answers.length === 0) problems.push(`${name}: an answer that is no HTTP: ${text.slice(0, 80)}`);
  const asksBooks = Buffer.concat(fuzzCase.pieces).includes('/v1/inferometer/requests/');
  for (const { status, requestId, isRouted, isHtml } of answers) {
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (isHtml) problems.push(`${name}: an error page instead of an envelope`);
    if (status === 500) problems.push(`${name}: a fault inside the gateway`);
    // Reading what there is leaves no record, nor does asking for a request that is not there; all else that is refused or sent does.
    const isOwed = isRouted || (status >= 400 && status !== 401 && !(status === 404 && asksBooks));
    if (requestId !== null && isOwed) owed.set(requestId, name);
  }
}

/** Every request that was owed a record or reached an engine has one; and the metrics counted each record once. */
async function compareBooks(
  stack: TestStack,
  engine: FakeEngine,
  { problems, owed }: Omit<Findings, 'statuses'>,
): Promise<number> {
  await until('nothing is in flight', async () => (await readRequestCounts(stack.adminUrl)).inFlight === 0);
  const records = await readAllRecords(stack);
  const known = new Set(records.map(({ requestId }) => requestId));
  for (const [requestId, name] of owed) if (!known.has(requestId)) problems.push(`${name}: no record of ${requestId}`);
  for (const { headers, method, path } of engine.requests) {
    const id = headers['x-request-id'];
    if (method !== 'GET' && (typeof id !== 'string' || !known.has(id)))
      problems.push(`an engine got ${method} ${path} without a record`);
    if (headers.authorization !== undefined) problems.push(`an engine got a key with ${path}`);
  }
  const attempts = new Set(records.map(({ requestId, attempt }) => `${requestId}.${attempt}`));
  const counted = await readRequestCounts(stack.adminUrl);
  const requests = countByStatus(records);
  if (JSON.stringify(counted.byStatus) !== JSON.stringify(requests))
    problems.push(`counted ${JSON.stringify(counted.byStatus)}, recorded ${JSON.stringify(requests)}`);
  return attempts.size;
}

/** Requests by the status of their last attempt, as metrics count them. */
function countByStatus(records: readonly SoakRecord[]): Record<string, number> {
  const last = new Map<string, SoakRecord>();
  for (const record of records) {
    if (record.attempt >= (last.get(record.requestId)?.attempt ?? 0)) last.set(record.requestId, record);
  }
  const byStatus: Record<string, number> = {};
  for (const { status } of last.values()) byStatus[status] = (byStatus[status] ?? 0) + 1;
  return byStatus;
}

async function checkAlive(port: number, key: string): Promise<boolean> {
  const body = '{"model":"fake"}';
  const text = await openRaw(
    port,
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  ).closed;
  return text.startsWith('HTTP/1.1 200 ');
}
