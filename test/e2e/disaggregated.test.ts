// Disaggregated serving on the real product: a front with its prompts computed on other GPUs. Each request is charged on both, each side comes
// close to its engine's own truth, and the books of both balance, through a kill too.
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSegment } from '#accounting/journal-lines.ts';
import { listSegments } from '#accounting/journal-segments.ts';
import { silentLog } from '#domain/log.ts';
import { createPseudoText } from '#simulator/pseudo-text.ts';
import { startOwnProcess } from '#src/demo/child-process.ts';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';

interface RecordJson {
  readonly requestId: string;
  readonly team: string;
  readonly outcome: string;
  readonly deployment: string;
  readonly stream: boolean;
  readonly costNanoUsd: string;
  readonly charges: readonly {
    readonly deployment?: string;
    readonly gpuSeconds: number;
    readonly costNanoUsd: string;
    readonly usdPerGpuHour: string;
  }[];
}

interface Report {
  readonly rows: readonly { deployment: string; requests: number; gpuSeconds: number; costNanoUsd: string }[];
  readonly pools: readonly {
    deployment: string;
    capacityNanoUsd: string;
    chargedNanoUsd: string;
    idleNanoUsd: string;
    pendingNanoUsd: string;
  }[];
  readonly totals: { readonly differenceNanoUsd: string };
}

/** A prompt takes long beside the network's milliseconds, and a window holds many: one second of work is divided among those in it. */
const PROFILE = {
  iterationMs: 8,
  prefillTokenMs: 0.02,
  prefillContextMs: 0,
  decodeStepMs: 0.5,
  contextTokenMs: 0.0004,
};

let stack: TestStack;
const startPair = async (): Promise<void> => {
  stack = await startTestStack({
    teams: ['search', 'assistant'],
    engines: [{ name: 'llama', profile: PROFILE, prefill: { gpus: 2 }, networkOverheadMs: 1 }],
  });
};

let number = 0;
async function chat(team: string, shape: { prompt: number; output: number; stream: boolean }): Promise<string> {
  number += 1;
  const response = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.keys[team]}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      messages: [{ role: 'user', content: createPseudoText(shape.prompt, number) }],
      max_tokens: shape.output,
      ignore_eos: true,
      stream: shape.stream,
    }),
  });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  expect(text).toContain(shape.stream ? '[DONE]' : '"usage"');
  return response.headers.get('x-inferometer-request-id') ?? '';
}

/** Two unlike teams side by side for about `seconds`: long prompts and short answers, short prompts and long answers. */
async function runTraffic(seconds: number): Promise<void> {
  const untilMs = performance.now() + seconds * 1000;
  // Unlike lengths, so that clients do not fall into step, which no independent clients would.
  const client = async (team: string, shape: { prompt: number; output: number }, index: number) => {
    for (let count = index; performance.now() < untilMs; count += 1) {
      const part = 0.6 + ((count * 7 + index * 3) % 9) / 10;
      const { prompt, output } = shape;
      await chat(team, { prompt: Math.round(prompt * part), output: Math.round(output * part), stream: count % 3 > 0 });
    }
  };
  await Promise.all([
    ...[0, 1, 2, 3, 4, 5].map((index) => client('search', { prompt: 2000, output: 20 }, index)),
    ...[0, 1, 2].map((index) => client('assistant', { prompt: 1000, output: 80 }, index)),
  ]);
}

const requestsOf = (simulator: number) => stack.simulators[simulator]?.truth().requests ?? [];

async function readRecords(): Promise<readonly RecordJson[]> {
  const { requests } = await stack.admin<{ requests: readonly RecordJson[] }>('/api/requests?limit=1000');
  return requests;
}

/** How many requests were under way at each of the journal's progress lines. */
function readProgress(): number[] {
  const root = join(stack.dataDir, 'journal');
  const entries = readdirSync(root).flatMap((slot) => {
    const dir = join(root, slot);
    return listSegments(dir).flatMap((segment) => [...readSegment({ dir, log: silentLog }, segment)]);
  });
  return entries.flatMap(({ entry }) => (entry.t === 'progress' ? [entry.attempts.length] : []));
}

async function expectBalanced(records: readonly RecordJson[]): Promise<void> {
  const report = await stack.admin<Report>('/api/reports/chargeback?groupBy=deployment');
  expect(report.totals.differenceNanoUsd).toBe('0');
  for (const name of ['llama', 'llama-prefill']) {
    const pool = report.pools.find(({ deployment }) => deployment === name);
    const row = report.rows.find(({ deployment }) => deployment === name);
    expect(BigInt(pool?.chargedNanoUsd ?? 0)).toBeGreaterThan(0n);
    expect(BigInt(pool?.chargedNanoUsd ?? 0) + BigInt(pool?.idleNanoUsd ?? 0)).toBe(BigInt(pool?.capacityNanoUsd ?? 1));
    const charges = records.flatMap((record) =>
      record.charges.filter((charge) => (charge.deployment ?? 'llama') === name),
    );
    const sum = charges.reduce((total, { costNanoUsd }) => total + BigInt(costNanoUsd), 0n);
    expect([name, row?.costNanoUsd]).toEqual([name, String(sum)]);
    expect([name, pool?.chargedNanoUsd, pool?.pendingNanoUsd]).toEqual([name, String(sum), '0']);
  }
  expect(report.rows.find(({ deployment }) => deployment === 'llama')?.requests).toBe(records.length);
  expect(report.rows.find(({ deployment }) => deployment === 'llama-prefill')?.requests).toBe(0);
  const { code, out } = await runCli(['ledger', 'verify', '--json', '--config', stack.configPath]);
  expect([code, JSON.parse(out)]).toMatchObject([0, { ok: true, differenceNanoUsd: '0', firstBroken: null }]);
}

const SIDES = ['llama', 'llama-prefill'];

/**
 * How far GPU seconds charged on some sides are from those that their engines spent, by request and by team, as parts of the whole: in so short a
 * run the time in flight holds the network's and the transfer's milliseconds too.
 */
function compare(records: readonly RecordJson[], sides: readonly string[]) {
  const engines = sides.map((side) => stack.simulators[SIDES.indexOf(side)]);
  const truth = engines.map((engine) => new Map(engine?.truth().requests.map((one) => [one.requestId, one.gpuTimeMs])));
  const known = records.map(({ requestId, team, charges }) => ({
    team,
    charged: sum(charges.filter(({ deployment = 'llama' }) => sides.includes(deployment)).map((one) => one.gpuSeconds)),
    true: sum(truth.map((spent, index) => ((spent.get(requestId) ?? 0) * (engines[index]?.gpus ?? 0)) / 1000)),
  }));
  const total = (part: typeof known) => ({
    charged: sum(part.map((one) => one.charged)),
    true: sum(part.map((one) => one.true)),
  });
  const all = total(known);
  const errorOf = (one: { charged: number; true: number }) =>
    Math.abs(one.charged / all.charged / (one.true / all.true) - 1);
  const errors = known.map(errorOf).sort((left, right) => left - right);
  return {
    median: errors[Math.floor(errors.length / 2)] ?? 1,
    p95: errors[Math.floor(errors.length * 0.95)] ?? 1,
    worstTeam: Math.max(...[...Map.groupBy(known, ({ team }) => team).values()].map((part) => errorOf(total(part)))),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

describe('disaggregated serving', () => {
  beforeEach(startPair);
  afterEach(() => stack.close());

  it('requests are charged on both sides as their engines say, both pools balance, and the ledger verifies', async () => {
    await runTraffic(12);
    await stack.settled(Date.now());
    const records = await readRecords();
    expect(records.length).toBeGreaterThan(30);
    for (const { outcome, deployment, charges, costNanoUsd } of records) {
      expect([outcome, deployment]).toEqual(['completed', 'llama']);
      expect(new Set(charges.map((charge) => charge.deployment))).toEqual(new Set([undefined, 'llama-prefill']));
      expect(charges.reduce((sum, charge) => sum + BigInt(charge.costNanoUsd), 0n)).toBe(BigInt(costNanoUsd));
    }
    await expectBalanced(records);
    const whole = compare(records, SIDES);
    // With room for a loaded machine; the target itself is held on virtual time (two-pools-accuracy.test.ts).
    expect(whole.median).toBeLessThan(0.08);
    expect(whole.p95).toBeLessThan(0.25);
    expect(whole.worstTeam).toBeLessThan(0.05);
    for (const side of SIDES) expect(compare(records, [side]).median, side).toBeLessThan(0.12);
    expect(requestsOf(0).every(({ prefillMs, decodeMs }) => prefillMs === 0 && decodeMs > 0)).toBe(true);
    expect(requestsOf(1).every(({ prefillMs, decodeMs }) => prefillMs > 0 && decodeMs === 0)).toBe(true);
  });

  it('a gateway killed with requests on both sides books them after its restart, balanced, the cut ones where they were, and a lost store gets the same again', async () => {
    await chat('search', { prompt: 200, output: 10, stream: false });
    const answer = chat('search', { prompt: 200, output: 4000, stream: true }).catch(() => 'cut');
    await until('the answer runs', async () => requestsOf(0).some(({ completionTokens }) => completionTokens > 100));
    const prompt = chat('search', { prompt: 120_000, output: 5, stream: true }).catch(() => 'cut');
    await until('the prompt is computed', async () => requestsOf(1).some(({ steps }) => steps > 1));
    // Work of the last second before a kill may be lost: the journal is told once a second how far requests are.
    await until('the journal knows of both', async () => readProgress().some((running) => running === 2));
    const cut = [answer, prompt];
    process.kill(stack.gateway().pid, 'SIGKILL');
    expect(await Promise.all(cut)).toEqual(['cut', 'cut']);
    await stack.restart();
    await stack.settled(Date.now());
    const records = await readRecords();
    expect(records.map(({ outcome }) => outcome).toSorted()).toEqual(['completed', 'interrupted', 'interrupted']);
    await expectBalanced(records);
    const sides = records
      .filter(({ outcome }) => outcome === 'interrupted')
      .map(({ charges }) => charges.map(({ deployment = 'llama' }) => deployment).join('+'));
    expect(sides.toSorted()).toEqual(['llama+llama-prefill', 'llama-prefill']);
    await stack.gateway().end(10_000);
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${stack.dataDir}/inferometer.db${suffix}`, { force: true });
    const { code, err } = await runCli(['ledger', 'rebuild', '--config', stack.configPath]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    await stack.restart();
    await stack.settled(Date.now());
    expect(await readRecords()).toEqual(records);
    await expectBalanced(records);
  });
});

it('the simulated pair is there for whoever tries it, each engine with its truth', async () => {
  const simulator = startOwnProcess(['simulate', '--port', '0', '--prefill-port', '0', '--json'], (line) =>
    line.startsWith('{'),
  );
  try {
    const { url, prefillUrl, model } = JSON.parse(await simulator.ready) as Record<string, string>;
    const body = JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'hello' }],
      max_tokens: 5,
      ignore_eos: true,
    });
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body })).status).toBe(200);
    for (const side of [url, prefillUrl]) {
      const { requests } = (await (await fetch(`${side}/truth`)).json()) as { requests: { gpuTimeMs: number }[] };
      expect(
        requests.map(({ gpuTimeMs }) => gpuTimeMs > 0),
        side,
      ).toEqual([true]);
    }
  } finally {
    expect(await simulator.end(10_000)).toBe(0);
  }
});
