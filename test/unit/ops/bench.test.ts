// The benchmark's own instruments: the judge, the books of CPU time, and the two C programs. No speed is asserted here.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findFreePort } from '#src/demo/free-port.ts';
import type { Program } from '#test/bench/child.ts';
import { renderBody } from '#test/bench/measure.ts';
import { compileNative, runLoad, startMockEngine, type LoadOptions, type NativePrograms } from '#test/bench/native.ts';
import { readProcessUse } from '#test/bench/process-account.ts';
import { renderResult } from '#test/bench/render-result.ts';
import { judge, median, TARGETS } from '#test/bench/targets.ts';

describe('the judge', () => {
  const nginx = {
    cpuMicrosPerRequest: 10,
    cpuMicrosPerChunk10k: 10,
    cpuMicrosPerChunk25k: 10,
    chunkDelayP50Micros10k: 100,
  };
  const direct = { latencyP99Micros: 200 };

  test('a value on the limit passes, one a thousandth above it is missed', () => {
    const verdictOf = (cpuMicrosPerRequest: number) => judge({ nginx, gateway: { cpuMicrosPerRequest } })[0];
    expect(verdictOf(45)).toMatchObject({ value: 4.5, verdict: 'pass' });
    expect(verdictOf(45.001)).toMatchObject({ value: 4.501, verdict: 'miss' });
  });

  test('what the gateway adds is its p99 less the direct one, in milliseconds', () => {
    const verdict = judge({ nginx, direct, gateway: { latencyP99Micros: 1400 } }).find((one) =>
      one.title.startsWith('added p99'),
    );
    expect(verdict).toMatchObject({ value: 1.2, unit: 'ms', verdict: 'pass' });
  });

  test('a throughput on the limit passes, one a thousandth below it is missed', () => {
    const verdictOf = (chunksPerSecond: number) =>
      judge({ nginx: { chunksPerSecond: 1000 }, gateway: { chunksPerSecond } }).find((one) =>
        one.title.startsWith('chunks per second'),
      );
    expect(verdictOf(650)).toMatchObject({ value: 0.65, verdict: 'pass' });
    expect(verdictOf(649.9)).toMatchObject({ value: 0.649, verdict: 'miss' });
  });

  test('what was not measured is neither passed nor missed', () => {
    expect(judge({ direct, nginx }).map((one) => one.verdict)).toEqual(TARGETS.map(() => 'not measured'));
  });

  test('the median of an even number lies between the middle two', () => {
    expect(median([9, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 9])).toBe(3);
    expect(() => median([])).toThrow('the median of nothing');
  });

  test('the table shows figures, ratios and verdicts', () => {
    const medians = { nginx: { cpuMicrosPerRequest: 20 }, gateway: { cpuMicrosPerRequest: 50 } };
    const text = renderResult({
      schema: 'inferometer.bench/1',
      startedAt: '2026-11-23T00:00:00.000Z',
      commit: 'abc',
      host: { cpu: 'c', kernel: 'k', node: 'v26', nginx: '1.22' },
      quick: true,
      repetitions: 1,
      medians,
      targets: judge(medians),
      notes: ['rough'],
    });
    expect(text).toMatch(/CPU µs per request, saturated\s+│ 20\.0\s+│ 50\.0\s+│ 2\.50/);
    expect(text).toMatch(
      /CPU per request, saturated\s+│ 2\.50 × nginx\s+│ at most 4\.5 × nginx\s+│ at most 3 × nginx\s+│ pass/,
    );
    expect(text).toContain('note: rough');
  });
});

test('CPU time and memory of a process tree are read from the kernel', () => {
  const before = readProcessUse(process.pid);
  expect(before.residentBytes).toBeGreaterThan(10 * 1024 ** 2);
  const start = process.cpuUsage();
  while (process.cpuUsage(start).user < 100_000) Math.sqrt(Math.random());
  const spent = readProcessUse(process.pid).cpuSeconds - before.cpuSeconds;
  expect(spent).toBeGreaterThanOrEqual(0.08);
  expect(readProcessUse(2 ** 30)).toEqual({ cpuSeconds: 0, residentBytes: 0 });
});

test('the request body has the promised size and is JSON', () => {
  for (const body of [renderBody(), renderBody(20_000)]) {
    expect(body.length).toBe(1000);
    expect(JSON.parse(body)).toMatchObject({ model: 'bench' });
  }
});

describe('the programs in C', () => {
  let folder: string;
  let programs: NativePrograms;
  let engine: Program;
  let url: string;
  let load: LoadOptions;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'inferometer-bench-test-'));
    programs = compileNative(folder);
    const port = await findFreePort();
    engine = await startMockEngine({ program: programs.mockEngine, port, logFile: join(folder, 'engine.log') });
    url = `http://127.0.0.1:${port}/v1/chat/completions`;
    load = {
      mode: 'closed',
      port,
      connections: 4,
      rate: 0,
      warmupSeconds: 0.05,
      seconds: 0.2,
      key: 'k',
      body: renderBody(),
    };
  });

  afterAll(async () => {
    await engine?.stop();
    rmSync(folder, { recursive: true });
  });

  const ask = (body: object) => fetch(url, { method: 'POST', body: JSON.stringify(body) });

  test('the engine answers 608 bytes with usage', async () => {
    const text = await (await ask({ model: 'bench' })).text();
    expect(text.length).toBe(608);
    expect(JSON.parse(text)).toMatchObject({ usage: { prompt_tokens: 200, completion_tokens: 64, total_tokens: 264 } });
  });

  test('the engine streams as many events of 220 bytes as asked, then [DONE]', async () => {
    const text = await (await ask({ stream: true, max_tokens: 5, bench_interval_us: 100 })).text();
    const events = text.split('\n\n').slice(0, -1);
    expect(events.map((event) => event.length + 2)).toEqual([220, 220, 220, 220, 220, 'data: [DONE]'.length + 2]);
    const chunk = JSON.parse(events[0]?.slice('data: '.length) ?? '') as { choices: { delta: { content: string } }[] };
    expect(chunk.choices[0]?.delta.content).toMatch(/^@\d{20} /);
    expect(text).not.toContain('usage');
  });

  test('the usage chunk comes only when it is asked for', async () => {
    const res = await ask({
      stream: true,
      max_tokens: 1,
      bench_interval_us: 100,
      stream_options: { include_usage: true },
    });
    const events = (await res.text()).split('\n\n');
    expect(JSON.parse(events[1]?.slice('data: '.length) ?? '')).toMatchObject({
      choices: [],
      usage: { total_tokens: 264 },
    });
  });

  test('the load generator counts answers, and its edges surround them', async () => {
    const edges: string[] = [];
    const result = await runLoad(programs.loadGenerator, load, {
      onBegin: () => edges.push('begin'),
      onEnd: () => edges.push('end'),
    });
    expect(edges).toEqual(['begin', 'end']);
    expect(result).toMatchObject({ errors: 0, chunks: 0 });
    expect(result.requests).toBeGreaterThan(0);
    expect(result.latencyMicros.count).toBe(result.requests);
    expect(result.latencyMicros.p99).toBeGreaterThanOrEqual(result.latencyMicros.p50 ?? Infinity);
  });

  test('a paced load sends what is due, not what fits', async () => {
    const result = await runLoad(
      programs.loadGenerator,
      { ...load, mode: 'open', rate: 100, seconds: 0.5 },
      { onBegin() {}, onEnd() {} },
    );
    expect(result.requests).toBeGreaterThanOrEqual(25);
    expect(result.requests).toBeLessThanOrEqual(52);
  });

  test('streams are kept open and their chunks are timed', async () => {
    const body = renderBody(10_000);
    const result = await runLoad(
      programs.loadGenerator,
      { ...load, mode: 'open', connections: 10, rate: 1000, warmupSeconds: 0.2, seconds: 0.5, body },
      { onBegin() {}, onEnd() {} },
    );
    expect(result).toMatchObject({ errors: 0, open: 10, requests: 0 });
    expect(result.chunks).toBeGreaterThan(100);
    expect(result.chunkDelayMicros.count).toBe(result.chunks);
  });

  test('an answer that is not a 200 is an error', async () => {
    const refusing = createServer((req, res) => {
      req.resume().once('end', () => res.writeHead(429).end('{}'));
    }).listen(0, '127.0.0.1');
    await once(refusing, 'listening');
    try {
      const { port } = refusing.address() as AddressInfo;
      const result = await runLoad(
        programs.loadGenerator,
        { ...load, port, connections: 1 },
        { onBegin() {}, onEnd() {} },
      );
      expect(result.errors).toBeGreaterThan(0);
    } finally {
      refusing.close();
      refusing.closeAllConnections();
    }
  });
});
