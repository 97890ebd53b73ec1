// Clients that hang up at every stage, many times over, on the real gateway process: how fast engines are let go, and what is left behind.
import { readRequestCounts } from './request-counts.ts';
import { type AbortEngine, type Stage, STAGES, startAbortEngine } from './abort-engine.ts';
import { openRaw } from '#test/support/raw-http.ts';
import { type TestStack, until } from '#test/support/gateway.ts';
import { startBoundedStack } from './start-bounded-stack.ts';
import { fitSlope, type ProcessSample, readPercentile, sampleProcess } from './watch-process.ts';

export interface AbortResult {
  readonly aborts: number;
  /** Milliseconds from the client's hang-up to the end of the engine's connection. */
  readonly letGoMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly descriptorsBefore: number;
  readonly descriptorsAfter: number;
  /** Growth of resident memory, by least squares over the second half. */
  readonly residentBytesPerAbort: number;
  readonly residentBytesBefore: number;
  readonly residentBytesAfter: number;
  /** Requests the gateway counted, by status. */
  readonly counted: Readonly<Record<string, number>>;
  readonly countedAll: number;
  /** In flight towards engines at the end; and still open at the engine. */
  readonly inFlight: number;
  readonly openAtEngine: number;
}

export interface AbortOptions {
  readonly aborts: number;
  readonly concurrency: number;
  /** Aborts before anything is measured: until as many attempts wait for their settlement as will at this rate. */
  readonly warmUp: number;
  readonly onProgress?: (done: number, sample: ProcessSample) => void;
}

/** A stage that fills every buffer on its way costs a hundred times the others: one abort in so many is of it. */
const STUCK_EVERY = 50;
const OFTEN = STAGES.filter((stage) => stage !== 'stuck');

/** Runs the whole thing on a stack of its own; rejects when a hang-up is not noticed within `until`'s limit. */
export async function runAborts(options: AbortOptions): Promise<AbortResult> {
  const engine = await startAbortEngine();
  const deployment = {
    name: 'fake',
    models: ['fake'],
    engine: 'tensorrt-llm',
    gpu: 'H100-SXM',
    upstreams: [{ url: engine.url, name: 'fake-1' }],
  };
  const stack = await startBoundedStack({
    engines: [],
    config: { deployments: [deployment], logging: { access: false } },
  });
  try {
    return await runOn(stack, engine, options);
  } finally {
    await stack.close();
    await engine.close();
  }
}

async function runOn(stack: TestStack, engine: AbortEngine, options: AbortOptions): Promise<AbortResult> {
  const { pid } = stack.gateway();
  const port = Number(new URL(stack.gatewayUrl).port);
  const samples: ProcessSample[] = [];
  const letGoMs: number[] = [];
  const look = (done: number): void => {
    const sample = sampleProcess(pid, done);
    samples.push(sample);
    options.onProgress?.(done, sample);
  };
  const key = stack.keys['search'] ?? '';
  // The first requests make what every gateway then keeps: connections, code, pools, attempts that wait for their settlement.
  const warmUp = Math.max(options.warmUp, options.concurrency);
  await abortMany(options.concurrency, warmUp, async (number) => {
    await abortOnce({ engine, port, key, number: -1 - number });
  });
  await settle(stack, engine, warmUp);
  look(0);
  const lookEvery = Math.max(20, Math.floor(options.aborts / 40));
  let done = 0;
  await abortMany(options.concurrency, options.aborts, async (number) => {
    const tookMs = await abortOnce({ engine, port, key, number });
    if (tookMs !== null) letGoMs.push(tookMs);
    done += 1;
    if (done % lookEvery === 0) look(done);
  });
  await settle(stack, engine, options.aborts + warmUp);
  const counted = await readRequestCounts(stack.adminUrl);
  look(options.aborts);
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined) throw new Error('nothing was looked at');
  return {
    aborts: options.aborts,
    letGoMs: {
      p50: readPercentile(letGoMs, 0.5),
      p99: readPercentile(letGoMs, 0.99),
      max: Math.max(...letGoMs),
    },
    descriptorsBefore: first.descriptors,
    descriptorsAfter: last.descriptors,
    residentBytesPerAbort: fitSlope(samples.slice(Math.floor(samples.length / 2)), (sample) => sample.residentBytes),
    residentBytesBefore: first.residentBytes,
    residentBytesAfter: last.residentBytes,
    counted: counted.byStatus,
    countedAll: counted.all - warmUp,
    inFlight: counted.inFlight,
    openAtEngine: engine.open(),
  };
}

/** Numbers from 0 up to `count`, so many at a time. */
async function abortMany(atATime: number, count: number, abort: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) {
      const number = next;
      next += 1;
      await abort(number);
    }
  };
  await Promise.all(Array.from({ length: atATime }, work));
}

/** Waits until every request has been counted and nothing is open any more. */
async function settle(stack: TestStack, engine: AbortEngine, expected: number): Promise<void> {
  await until(
    `${expected} requests are counted and none is open`,
    async () => {
      const { all, inFlight } = await readRequestCounts(stack.adminUrl);
      return all >= expected && inFlight === 0 && engine.open() === 0;
    },
    { limitMs: 30_000 },
  );
}

interface OneAbort {
  readonly engine: AbortEngine;
  readonly port: number;
  readonly key: string;
  readonly number: number;
}

/** One request, hung up on at its stage; the milliseconds until the engine noticed, null where none was asked. */
async function abortOnce({ engine, port, key, number }: OneAbort): Promise<number | null> {
  const stage: Stage =
    number % STUCK_EVERY === STUCK_EVERY - 1 ? 'stuck' : (OFTEN[Math.abs(number) % OFTEN.length] ?? 'mid-stream');
  const name = `n${number}`;
  const client = openRaw(
    port,
    renderRequest(stage, `authorization: Bearer ${key}\r\nx-abort: ${name}\r\nx-stage: ${stage}\r\n`),
  );
  const seen = {
    'mid-stream': 'two',
    'after-usage': '"stop"',
    'after-done': '[DONE]',
    'half-json': '"half"',
    'half-forwarded': 'ID3 half',
    stuck: 'choices',
  };
  if (stage === 'upload') {
    await client.until('HTTP/1.1 100 Continue');
    client.hangUp();
    return null;
  }
  await engine.asked(name);
  if (stage in seen) await client.until(seen[stage as keyof typeof seen]);
  if (stage === 'stuck') client.pause();
  const leftAtMs = performance.now();
  client.hangUp();
  return (await engine.lost(name)) - leftAtMs;
}

function renderRequest(stage: Stage, headers: string): string {
  const streams = stage !== 'half-json' && stage !== 'half-forwarded';
  const body = JSON.stringify({ model: 'fake', stream: streams, messages: [{ role: 'user', content: 'hello' }] });
  const path = stage === 'half-forwarded' ? '/v1/audio/speech' : '/v1/chat/completions';
  if (stage === 'upload') {
    return `POST ${path} HTTP/1.1\r\nhost: x\r\n${headers}expect: 100-continue\r\ncontent-length: 5000\r\n\r\n{"model":`;
  }
  if (stage === 'forwarded-upload') {
    return `POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\n${headers}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n`;
  }
  return `POST ${path} HTTP/1.1\r\nhost: x\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`;
}
