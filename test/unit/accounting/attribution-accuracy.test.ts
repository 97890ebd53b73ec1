// The promise of attribution.md, measured: on a simulated engine whose true GPU time per request is known, charges come close to it.
// The engine is the iteration model with chunked prefill and jitter (reference/attribution-and-finops.md §2), driven on virtual time.
import { describe, expect, it } from 'vitest';
import type { AttemptMeter, AttemptStart } from '#domain/metering.ts';
import { createEnd, createStart, PROFILE, sendContent, startBench } from '#test/support/accounting-bench.ts';

interface Request {
  readonly id: string;
  readonly team: string;
  readonly atMs: number;
  readonly prompt: number;
  readonly output: number;
  readonly stream: boolean;
  begun: { readonly start: AttemptStart; readonly meter: AttemptMeter } | null;
  prefilled: number;
  sent: number;
  trueMs: number;
}

const CLASSES = [
  { team: 'chat', prompt: 500, output: 300, streams: 1, part: 0.5 },
  { team: 'rag', prompt: 6000, output: 150, streams: 1, part: 0.25 },
  { team: 'batch', prompt: 2000, output: 600, streams: 0, part: 0.1 },
  { team: 'code', prompt: 800, output: 500, streams: 0.5, part: 0.15 },
] as const;
const CHUNK_TOKENS = 2048;

function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function createTraffic(perSecond: number, seconds: number): Request[] {
  const random = createRandom(11);
  const requests: Request[] = [];
  let atMs = 0;
  while (atMs < seconds * 1000) {
    atMs += (-Math.log(1 - random()) * 1000) / perSecond;
    let pick = random();
    const kind = CLASSES.find(({ part }) => (pick -= part) < 0) ?? CLASSES[0];
    const spread = () => 0.6 + 0.8 * random();
    requests.push({
      id: `r${requests.length}`,
      team: kind.team,
      atMs,
      prompt: Math.floor(kind.prompt * spread()),
      output: Math.floor(kind.output * spread()),
      stream: random() < kind.streams,
      begun: null,
      prefilled: 0,
      sent: 0,
      trueMs: 0,
    });
  }
  return requests;
}

/** One iteration of the engine: its length in ms, each member's true part, and what it produced. */
function iterate(running: readonly Request[], jitter: number): { readonly ms: number; readonly produced: Request[] } {
  let budget = CHUNK_TOKENS;
  const members: { readonly request: Request; readonly workMs: number }[] = [];
  const produced: Request[] = [];
  for (const request of running) {
    if (request.prefilled < request.prompt) continue;
    const context = request.prompt + request.sent;
    members.push({ request, workMs: PROFILE.decodeStepMs + PROFILE.contextTokenMs * context });
    produced.push(request);
  }
  for (const request of running) {
    const part = Math.min(budget, request.prompt - request.prefilled);
    if (part <= 0) continue;
    budget -= part;
    const context = request.prefilled + part / 2;
    members.push({ request, workMs: part * (PROFILE.prefillTokenMs + PROFILE.prefillContextMs * context) });
    request.prefilled += part;
    if (request.prefilled === request.prompt) produced.push(request);
  }
  for (const { request, workMs } of members) request.trueMs += (workMs + PROFILE.iterationMs / members.length) * jitter;
  return { ms: (PROFILE.iterationMs + members.reduce((sum, { workMs }) => sum + workMs, 0)) * jitter, produced };
}

async function measure(perSecond: number, seconds: number) {
  const bench = await startBench();
  const random = createRandom(5);
  const requests = createTraffic(perSecond, seconds);
  const startMs = bench.time.monotonicMs();
  let arrived = 0;
  let running: Request[] = [];
  let syncAtMs = startMs + 1000;
  while (arrived < requests.length || running.length > 0) {
    for (let next = requests[arrived]; next !== undefined; next = requests[arrived]) {
      if (startMs + next.atMs > bench.time.monotonicMs()) break;
      const { id, team, stream, prompt } = next;
      const start = createStart(bench.time, id, { team, stream, promptBytes: prompt * 4 });
      next.begun = { start, meter: bench.accounting.metering.begin(start) };
      running.push(next);
      arrived += 1;
    }
    const idleMs = startMs + (requests[arrived]?.atMs ?? 0) - bench.time.monotonicMs();
    const { ms, produced } =
      running.length === 0 ? { ms: Math.max(0.01, idleMs), produced: [] } : iterate(running, 0.92 + 0.16 * random());
    bench.time.advance(ms);
    for (const request of produced) {
      request.sent += 1;
      const { begun, prompt, output } = request;
      if (begun === null) continue;
      if (request.stream) sendContent(bench.time, begun.meter);
      if (request.sent >= output) void begun.meter.finish(createEnd(bench.time, begun.start, { prompt, output }));
    }
    running = running.filter((request) => request.sent < request.output);
    if (bench.time.monotonicMs() >= syncAtMs) {
      await bench.accounting.syncNow();
      syncAtMs += 1000;
    }
  }
  await bench.pass(8000);
  const costs = new Map<string, number>();
  for (let cursor: string | undefined, more = true; more;) {
    const page = await bench.store.readRecords({ limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
    for (const record of page.records) {
      costs.set(
        record.requestId,
        record.charges.reduce((sum, charge) => sum + Number(charge.gpuMicros) / 1000, 0),
      );
    }
    more = page.next !== null;
    cursor = page.next ?? undefined;
  }
  bench.accounting.stop();
  return summarise(requests, costs);
}

function summarise(requests: readonly Request[], costs: ReadonlyMap<string, number>) {
  const errors = requests
    .map(({ id, trueMs }) => Math.abs((costs.get(id) ?? 0) - trueMs) / trueMs)
    .sort((a, b) => a - b);
  const teams = new Map<string, { charged: number; true: number }>();
  for (const { id, team, trueMs } of requests) {
    const sums = teams.get(team) ?? { charged: 0, true: 0 };
    teams.set(team, { charged: sums.charged + (costs.get(id) ?? 0), true: sums.true + trueMs });
  }
  const worstTeam = Math.max(...[...teams.values()].map((sums) => Math.abs(sums.charged / sums.true - 1)));
  return {
    median: errors[Math.floor(errors.length / 2)] ?? 1,
    p95: errors[Math.floor(errors.length * 0.95)] ?? 1,
    worstTeam,
    settled: costs.size,
    sent: requests.length,
  };
}

describe('attribution', () => {
  it.each([
    { load: 'light', perSecond: 1, seconds: 60 },
    { load: 'saturated', perSecond: 8, seconds: 40 },
  ])(
    'charges each request near its true GPU time and each team within 5 % at $load load',
    async ({ perSecond, seconds }) => {
      const measured = await measure(perSecond, seconds);
      expect(measured.settled).toBe(measured.sent);
      expect(measured.median, JSON.stringify(measured)).toBeLessThan(0.05);
      expect(measured.p95, JSON.stringify(measured)).toBeLessThan(0.2);
      expect(measured.worstTeam, JSON.stringify(measured)).toBeLessThan(0.05);
    },
  );
});
