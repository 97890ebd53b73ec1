// The traffic generator against simulated engines: what clients saw is what the engine knows.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { startSimulator } from '#simulator/start-simulator.ts';
import type { Simulator, SimulatorOptions } from '#simulator/start-simulator.ts';
import { runTraffic } from '#simulator/traffic.ts';
import type { TrafficTeam } from '#simulator/traffic.ts';

const running: Simulator[] = [];

async function start(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ flavor: 'trtllm', model: 'llama-3.1-8b', seed: 1, ...options });
  running.push(simulator);
  return simulator;
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((simulator) => simulator.close()));
});

const team = (fields: Partial<TrafficTeam> & Pick<TrafficTeam, 'team' | 'profile'>): TrafficTeam => ({
  model: 'llama-3.1-8b',
  requestsPerSecond: 10,
  scale: 0.05,
  ...fields,
});
const teams = [
  team({ team: 'chat', profile: 'chat' }),
  team({ team: 'rag', profile: 'rag', promptScale: 0.1 }),
  team({ team: 'batch', profile: 'batch', promptScale: 0.2, scale: 0.02 }),
  team({ team: 'code', profile: 'code', scale: 0.02 }),
];

describe('runTraffic', () => {
  it('every request completes and reports the tokens that the engine counted', async () => {
    const simulator = await start();
    const progress: number[] = [];
    const summary = await runTraffic({
      baseUrl: simulator.url,
      durationMs: 1000,
      teams,
      seed: 5,
      onProgress: ({ elapsedShare }) => progress.push(elapsedShare),
    });
    const { requests, busyMs } = simulator.truth();
    expect(summary.requests.length).toBeGreaterThan(15);
    expect(summary.skipped).toBe(0);
    expect(summary.requests.map((one) => [one.outcome, one.status])).toEqual(requests.map(() => ['completed', 200]));
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    expect(sum(summary.teams.map((one) => one.promptTokens))).toBe(sum(requests.map((one) => one.promptTokens)));
    expect(sum(summary.teams.map((one) => one.completionTokens))).toBe(
      sum(requests.map((one) => one.completionTokens)),
    );
    expect(sum(summary.requests.map((one) => one.usage?.cachedTokens ?? 0))).toBe(
      sum(requests.map((one) => one.cachedTokens)),
    );
    expect(sum(requests.map((one) => one.gpuTimeMs))).toBeCloseTo(busyMs, 6);
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual(progress.toSorted((one, other) => one - other));
  });

  it('clients that hang up are recorded as aborted, and the engine notices', async () => {
    const simulator = await start({ disconnectLagMsMax: 0 });
    const summary = await runTraffic({
      baseUrl: simulator.url,
      durationMs: 500,
      teams: [team({ team: 'chat', profile: 'chat', abortShare: 1, requestsPerSecond: 20, scale: 1 })],
      seed: 1,
    });
    const [chat] = summary.teams;
    expect(chat?.aborted).toBeGreaterThan(0);
    expect(chat?.failed).toBe(0);
    for (;;) {
      const { requests } = simulator.truth();
      if (requests.filter((one) => one.aborted).length === chat?.aborted) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  it('refusals and broken streams are failures, with the status that came', async () => {
    const refusing = await start({ faults: 'status=503' });
    const breaking = await start({ faults: 'cut-after=1' });
    const send = (baseUrl: string) =>
      runTraffic({
        baseUrl,
        durationMs: 200,
        teams: [team({ team: 'chat', profile: 'chat', requestsPerSecond: 30 })],
        seed: 1,
      });
    const refused = await send(refusing.url);
    expect(new Set(refused.requests.map((one) => `${one.outcome} ${one.status}`))).toEqual(new Set(['failed 503']));
    const broken = await send(breaking.url);
    expect(new Set(broken.requests.map((one) => `${one.outcome} ${one.status}`))).toEqual(new Set(['failed 200']));
    const gone = await send('http://127.0.0.1:1');
    expect(new Set(gone.requests.map((one) => `${one.outcome} ${one.status}`))).toEqual(new Set(['failed null']));
  });

  it('never has more requests in flight than allowed, and counts what it skipped', async () => {
    const simulator = await start({ baseline: true });
    const summary = await runTraffic({
      baseUrl: simulator.url,
      durationMs: 500,
      teams: [team({ team: 'chat', profile: 'chat', requestsPerSecond: 60, scale: 0.2 })],
      seed: 1,
      maxInFlight: 2,
      onProgress: ({ inFlight }) => expect(inFlight).toBeLessThanOrEqual(2),
    });
    expect(summary.skipped).toBeGreaterThan(0);
    expect(summary.requests.every((one) => one.outcome === 'completed')).toBe(true);
  });

  it('stops at the signal: nothing new starts, what runs is hung up on', async () => {
    const simulator = await start();
    const stop = new AbortController();
    const summary = await runTraffic({
      baseUrl: simulator.url,
      durationMs: 600_000,
      teams: [team({ team: 'chat', profile: 'chat', requestsPerSecond: 20, scale: 20 })],
      seed: 1,
      signal: stop.signal,
      onProgress: ({ inFlight }) => {
        if (inFlight > 2) stop.abort();
      },
    });
    expect(summary.requests.length).toBeGreaterThan(2);
    expect(new Set(summary.requests.map((one) => one.outcome))).toEqual(new Set(['aborted']));
  });

  it('sends the key, and keeps the id that the gateway gave the request', async () => {
    const keys: (string | undefined)[] = [];
    const gateway = createServer((req, res) => {
      keys.push(req.headers.authorization);
      req.resume();
      res.writeHead(200, { 'x-inferometer-request-id': 'id-1', 'content-type': 'application/json' });
      res.end(JSON.stringify({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 } }));
    });
    await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve));
    const summary = await runTraffic({
      baseUrl: `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`,
      durationMs: 200,
      teams: [
        team({ team: 'batch', profile: 'batch', apiKey: 'secret-key', requestsPerSecond: 30, promptScale: 0.01 }),
      ],
      seed: 1,
    });
    gateway.close();
    expect(new Set(keys)).toEqual(new Set(['Bearer secret-key']));
    expect(summary.requests[0]).toMatchObject({
      requestId: 'id-1',
      usage: { promptTokens: 3, completionTokens: 4, cachedTokens: null },
    });
  });
});
