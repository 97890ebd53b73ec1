// The promise of attribution.md for prompts computed on GPUs of their own: two engines whose true GPU time per request is known, on virtual time.
import { describe, expect, it } from 'vitest';
import { EngineCore } from '#simulator/engine-core.ts';
import { createRequestAccount, type RequestAccount } from '#simulator/engine-sequence.ts';
import { createSeededRandom } from '#simulator/seeded-random.ts';
import { createEnd, createStart, PROFILE, sendContent, startBench } from '#test/support/accounting-bench.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const PREFILL = { pool: 'pool-p', deployment: 'ctx' };
const CLASSES = [
  { team: 'chat', prompt: 500, output: 300, streams: 1, part: 0.5 },
  { team: 'rag', prompt: 6000, output: 150, streams: 1, part: 0.25 },
  { team: 'batch', prompt: 2000, output: 600, streams: 0, part: 0.1 },
  { team: 'code', prompt: 800, output: 500, streams: 0.5, part: 0.15 },
] as const;
/** From the end of a prefill to the first token that a client sees. */
const TRANSFER_MS = 5;

interface Asked {
  readonly id: string;
  readonly team: string;
  readonly atMs: number;
  readonly prompt: number;
  readonly output: number;
  readonly stream: boolean;
  readonly there: RequestAccount;
  readonly here: RequestAccount;
}

function createTraffic(perSecond: number, seconds: number): Asked[] {
  const random = createSeededRandom(11);
  const requests: Asked[] = [];
  for (let atMs = 0; atMs < seconds * 1000; atMs += (-Math.log(1 - random.uniform()) * 1000) / perSecond) {
    let pick = random.uniform();
    const kind = CLASSES.find(({ part }) => (pick -= part) < 0) ?? CLASSES[0];
    const spread = () => 0.6 + 0.8 * random.uniform();
    requests.push({
      id: `r${requests.length}`,
      team: kind.team,
      atMs,
      prompt: Math.floor(kind.prompt * spread()),
      output: Math.floor(kind.output * spread()),
      stream: random.uniform() < kind.streams,
      there: createRequestAccount(),
      here: createRequestAccount(),
    });
  }
  return requests;
}

async function startPair() {
  const { effectiveFrom: _, ...own } = createPoolFacts();
  const deployments = { ctx: DEPLOYMENT_FACTS };
  const { effectiveFrom: __, ...ctx } = createPoolFacts({ pool: PREFILL.pool, deployments });
  const bench = await startBench({ pools: [own, ctx] });
  const createCore = (seed: number) =>
    new EngineCore({
      coefficients: PROFILE,
      noiseCv: 0.04,
      maxSequences: 256,
      tokenBudget: 2048,
      kvCapacityTokens: 2_000_000,
      prefixCache: false,
      maxQueued: 10_000,
      seed,
    });
  return { bench, computing: createCore(1), generating: createCore(2) };
}

async function measure(perSecond: number, seconds: number) {
  const { bench, computing, generating } = await startPair();
  const { time } = bench;
  const requests = createTraffic(perSecond, seconds);
  const startMs = time.epochMs();
  const handOvers: { readonly atMs: number; readonly run: () => void }[] = [];
  const ended = new Set<string>();
  const ask = ({ id, team, stream, prompt, output, there, here }: Asked): void => {
    const start = createStart(time, id, { team, stream, promptBytes: prompt * 4, prefillBy: PREFILL });
    const meter = bench.accounting.metering.begin(start);
    const onToken = () => {
      if (stream) sendContent(time, meter);
    };
    const onFinish = () => {
      ended.add(id);
      void meter.finish(createEnd(time, start, { prompt, output }));
    };
    const shape = { promptTokens: prompt, promptBlocks: [] };
    const run = () => {
      onToken();
      generating.submit({
        ...shape,
        outputTokens: output,
        handedOver: true,
        arrivedAtMs: time.epochMs(),
        account: here,
        listener: { onToken, onFinish },
      });
    };
    const listener = {
      onToken: () => {},
      onFinish: (atMs: number) => handOvers.push({ atMs: atMs + TRANSFER_MS, run }),
    };
    computing.submit({ ...shape, outputTokens: 1, arrivedAtMs: time.epochMs(), account: there, listener });
  };
  let arrived = 0;
  for (let ms = 0; ended.size < requests.length; ms += 1) {
    for (let next = requests[arrived]; next !== undefined && next.atMs <= ms; next = requests[arrived]) {
      arrived += 1;
      ask(next);
    }
    while ((handOvers[0]?.atMs ?? Number.POSITIVE_INFINITY) <= startMs + ms) handOvers.shift()?.run();
    computing.step(time.epochMs());
    generating.step(time.epochMs());
    time.advance(1);
    if (ms % 1000 === 999) await bench.accounting.syncNow();
  }
  await bench.pass(8000);
  const charged = new Map<string, { here: number; there: number }>();
  for (let cursor: string | undefined, more = true; more;) {
    const page = await bench.store.readRecords({ limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
    for (const { requestId, charges } of page.records) {
      const sum = { here: 0, there: 0 };
      for (const { deployment, gpuMicros } of charges) {
        sum[deployment === undefined ? 'here' : 'there'] += Number(gpuMicros) / 1000;
      }
      charged.set(requestId, sum);
    }
    more = page.next !== null;
    cursor = page.next ?? undefined;
  }
  bench.accounting.stop();
  return { requests, charged };
}

type Side = 'here' | 'there';

function judge({ requests, charged }: Awaited<ReturnType<typeof measure>>, sides: readonly Side[]) {
  const compared = requests.map((request) => {
    const sum = charged.get(request.id) ?? { here: 0, there: 0 };
    const add = (read: (side: Side) => number) => sides.reduce((total, side) => total + read(side), 0);
    return {
      team: request.team,
      charged: add((side) => sum[side]),
      true: add((side) => request[side].prefillMs + request[side].decodeMs),
    };
  });
  const errors = compared.map((one) => Math.abs(one.charged - one.true) / one.true).sort((a, b) => a - b);
  const teams = [...Map.groupBy(compared, ({ team }) => team)].map(([team, part]) => {
    const total = part.reduce((sum, one) => ({ charged: sum.charged + one.charged, true: sum.true + one.true }), {
      charged: 0,
      true: 0,
    });
    return [team, Number((total.charged / total.true - 1).toFixed(4))] as const;
  });
  return {
    median: errors[Math.floor(errors.length / 2)] ?? 1,
    p95: errors[Math.floor(errors.length * 0.95)] ?? 1,
    worstTeam: Math.max(...teams.map(([, error]) => Math.abs(error))),
    teams,
  };
}

describe('charges of two pools', () => {
  it.each([
    ['light', 4],
    ['mid', 10],
    ['heavy', 16],
  ])('come within the target of the truth at %s load', async (_name, perSecond) => {
    const measured = await measure(perSecond, 40);
    expect(measured.charged.size).toBe(measured.requests.length);
    const whole = judge(measured, ['here', 'there']);
    expect(whole.median, JSON.stringify(whole)).toBeLessThan(0.05);
    expect(whole.p95, JSON.stringify(whole)).toBeLessThan(0.2);
    expect(whole.worstTeam, JSON.stringify(whole)).toBeLessThan(0.05);
    expect(judge(measured, ['here']).median).toBeLessThan(0.01);
    // A prompt is in flight there until its first token is seen: the transfer is a large part of a short one.
    expect(judge(measured, ['there']).median).toBeLessThan(0.25);
  });
});
