// The reader of one engine against a simulated trtllm-serve over HTTP: rows and step times drained together, a profile from both, and engines that tell less.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DeviceActivity } from '#accounting/device-activity.ts';
import { poolFactsFromConfig } from '#accounting/pool-facts-from-config.ts';
import { fromProfileFemtos } from '#attribution/profile-femtos.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { Log } from '#domain/log.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { createDispatcher } from '#gateway/upstream-dispatcher.ts';
import { EngineProfiles } from '#telemetry/engine-profiles.ts';
import { EngineReader } from '#telemetry/engine-reader.ts';
import { listStatisticsTargets } from '#telemetry/statistics-targets.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { recordPolls } from '#test/support/watched-engine.ts';
import { createSampleConfig, LLAMA } from '#test/unit/observe/sample-config.ts';

interface Page {
  readonly status?: number;
  readonly body: string;
}

let server: Server;
let nowMs: number;
let pages: { metrics: () => Page; perf: () => Page };
let asked: string[];

beforeEach(async () => {
  nowMs = 1e9;
  asked = [];
  pages = { metrics: () => ({ body: '[]' }), perf: () => ({ body: '[]' }) };
  server = createServer((req, res) => {
    asked.push(req.url ?? '');
    const { status = 200, body } = req.url === '/metrics' ? pages.metrics() : pages.perf();
    res.writeHead(status).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const perfAsked = (): number => asked.filter((url) => url === '/perf_metrics').length;

async function setUp() {
  const { port } = server.address() as AddressInfo;
  const upstreams = LLAMA.upstreams.map((entry) => ({ ...entry, url: `http://127.0.0.1:${port}`, dcgm: '' }));
  const config = createSampleConfig({ deployments: [{ ...LLAMA, upstreams }] });
  const [target] = listStatisticsTargets(config, ENGINE_TRAITS);
  const [upstream] = target?.deployment.upstreams ?? [];
  if (target === undefined || upstream === undefined) throw new Error('the sample has an engine');
  const told: string[] = [];
  const log: Log = {
    debug() {},
    info: (fields, text) => told.push(`${text} ${JSON.stringify(fields)}`),
    warn: (_, text) => told.push(text),
    error: (_, text) => told.push(text),
  };
  const clock = { monotonicMs: () => nowMs, epochMs: () => nowMs, toEpochMs: (ms: number) => ms };
  const store = new MemorySettlementStore({ now: () => nowMs });
  await store.open();
  await store.join({ journal: 'A', incarnation: 1 });
  const wanted = [...poolFactsFromConfig(config)].map(([pool, facts]) => [pool, [{ ...facts, effectiveFrom: 0 }]]);
  await store.putFacts(Object.fromEntries(wanted), 0);
  const profiles = new EngineProfiles({ settlement: store, books: store, clock, log });
  const reader = new EngineReader({
    target,
    traits: ENGINE_TRAITS[target.deployment.engine],
    dispatcher: createDispatcher(upstream, 1000),
    activity: new DeviceActivity(),
    clock,
    log,
    onIterations: (about, iterations) => profiles.take(about, iterations),
  });
  const inForce = async () => (await store.readFacts()).pools[target.pool]?.at(-1)?.deployments[target.deployment.name];
  return { reader, told, inForce };
}

const TRUTH: EngineProfile = {
  iterationMs: 6.1,
  prefillTokenMs: 0.021,
  prefillContextMs: 9e-7,
  decodeStepMs: 0.041,
  contextTokenMs: 8.5e-5,
};

describe('a profile through the reader', () => {
  const polls = recordPolls({ coefficients: TRUTH, repeatPart: 0.5 });
  const play = async (keep: (poll: number) => boolean) => {
    const { reader, told, inForce } = await setUp();
    for (const [index, { rows, entries }] of polls.entries()) {
      pages.metrics = () => ({ body: rows });
      pages.perf = () => ({ body: keep(index) ? entries : '[]' });
      await reader.readIterations();
      nowMs += 500;
    }
    const facts = await inForce();
    if (facts === undefined) throw new Error('the deployment has facts');
    return { facts, told, profile: fromProfileFemtos(facts.profile) };
  };
  const stepMs = (terms: EngineProfile) => terms.decodeStepMs + 1000 * terms.contextTokenMs;

  test('is in the books, with the terms of the engine, and says that it rests on known members', async () => {
    const { facts, told, profile } = await play(() => true);
    expect(facts.profileSource).toBe('engine');
    expect(Math.abs(profile.iterationMs / TRUTH.iterationMs - 1)).toBeLessThan(0.03);
    expect(Math.abs(profile.prefillTokenMs / TRUTH.prefillTokenMs - 1)).toBeLessThan(0.05);
    expect(Math.abs(profile.decodeStepMs / TRUTH.decodeStepMs - 1)).toBeLessThan(0.1);
    expect(Math.abs(stepMs(profile) / stepMs(TRUTH) - 1)).toBeLessThan(0.03);
    expect(told.at(-1)).toContain('"iterations":"exact"');
  });

  test('is that of the rows, to the last digit, where somebody else reads every second answer', async () => {
    const [gaps, none] = [await play((poll) => poll % 2 === 0), await play(() => false)];
    expect(gaps.facts.profileSource).toBe('engine');
    expect(gaps.profile).toEqual(none.profile);
    expect(gaps.told.join()).not.toContain('exact');
  });
});

describe('an engine that tells no step times', () => {
  const row = (iter: number) =>
    JSON.stringify([
      {
        iter,
        gpuForwardTimeMS: 5,
        inflightBatchingStats: { numContextRequests: 0, numGenRequests: 1, numCtxTokens: 0 },
      },
    ]);
  const untimed = (id: number) => JSON.stringify([{ request_id: id, perf_metrics: { first_iter: 1, last_iter: 2 } }]);
  const timed = JSON.stringify([
    { perf_metrics: {}, time_breakdown_metrics: { step_metrics: [{ forward_start_time: 5, gpu_forward_time: 5 }] } },
  ]);

  test.each<[string, string, (round: number) => Page]>([
    ['without the route', 'status 404', () => ({ status: 404, body: 'Not Found' })],
    ['with another page', 'the page is no list', () => ({ body: '# HELP x\nx 1\n' })],
    ['with the buffer off', 'perf_metrics_max_requests', () => ({ body: '[]' })],
    ['with entries of an older version', 'entries hold no step times', (round) => ({ body: untimed(round) })],
    ['with a page without end', 'longer than', () => ({ body: `[${' '.repeat(5 << 20)}]` })],
  ])('%s: said once, asked rarely, its rows are read all the same', async (_what, reason, perf) => {
    const { reader, told } = await setUp();
    let round = 0;
    pages = { metrics: () => ({ body: row(round) }), perf: () => perf(round) };
    for (; round < 400; round += 1, nowMs += 500) await reader.readIterations();
    expect(told.filter((text) => text.includes('tells no step times'))).toHaveLength(1);
    expect(told.join()).toContain(reason);
    expect(perfAsked()).toBeLessThan(130);
    expect(asked.length - perfAsked()).toBe(400);
    pages.perf = () => ({ body: timed });
    const before = perfAsked();
    for (; round < 540; round += 1, nowMs += 500) await reader.readIterations();
    expect(told.filter((text) => text.includes('can be read again'))).toHaveLength(1);
    expect(perfAsked()).toBeGreaterThan(before + 10);
  });

  test('one that idles is not taken for one', async () => {
    const { reader, told } = await setUp();
    for (let round = 0; round < 300; round += 1, nowMs += 500) await reader.readIterations();
    expect([told, perfAsked()]).toEqual([[], 300]);
  });

  test('the first page, which may hold all that the engine kept, may be too long', async () => {
    const { reader, told } = await setUp();
    pages.perf = () => ({ body: perfAsked() === 1 ? `[${' '.repeat(5 << 20)}]` : timed });
    for (let round = 0; round < 5; round += 1, nowMs += 500) await reader.readIterations();
    expect([told, perfAsked()]).toEqual([[], 5]);
  });

  test('without rows entries are not asked for: they would say nothing', async () => {
    const { reader } = await setUp();
    pages.metrics = () => ({ body: 'x 1\n' });
    await expect(reader.readIterations()).rejects.toThrow('no iteration rows');
    expect(perfAsked()).toBe(0);
  });
});
