// The engine on virtual time: conservation, budgets, KV memory, prefix reuse, preemption, determinism.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EngineCore, SequenceRefusedError } from '#simulator/engine-core.ts';
import type { EngineSettings, Iteration } from '#simulator/engine-core.ts';
import { createRequestAccount } from '#simulator/engine-sequence.ts';
import type { Sequence } from '#simulator/engine-sequence.ts';
import { findEngineModel, slowToBaseline } from '#simulator/engine-models.ts';
import { PromptDigest, createPseudoText } from '#simulator/pseudo-text.ts';

const coefficients = findEngineModel('llama-3.1-8b').coefficients;
const settings: EngineSettings = {
  coefficients,
  noiseCv: 0.04,
  maxSequences: 256,
  tokenBudget: 2048,
  kvCapacityTokens: 400_000,
  prefixCache: true,
  maxQueued: 1000,
  seed: 7,
};

interface Job {
  readonly prompt: string;
  readonly outputTokens: number;
  readonly arrivedAtMs: number;
  readonly handedOver?: boolean;
}

/** An engine with a record of what happened in it. */
function createTestEngine(overrides: Partial<EngineSettings> = {}) {
  const iterations: Iteration[] = [];
  const core = new EngineCore({ ...settings, ...overrides }, (iteration) => {
    iterations.push(iteration);
  });
  const submit = (job: Job) => {
    const digest = new PromptDigest();
    digest.appendText(job.prompt);
    const account = createRequestAccount();
    const tokensAtMs: number[] = [];
    const finished: { atMs: number | null } = { atMs: null };
    const sequence: Sequence = core.submit({
      promptTokens: digest.tokens,
      promptBlocks: digest.blockFingerprints(),
      outputTokens: job.outputTokens,
      handedOver: job.handedOver === true,
      arrivedAtMs: job.arrivedAtMs,
      account,
      listener: {
        onToken: (_index, atMs) => tokensAtMs.push(atMs),
        onFinish: (atMs) => {
          finished.atMs = atMs;
        },
      },
    });
    return { sequence, account, tokensAtMs, finished };
  };
  return { core, iterations, submit };
}

const textOf = (tokens: number, seed = 1): string => createPseudoText(tokens, seed);
const job = fc.record({
  promptTokens: fc.integer({ min: 1, max: 5000 }),
  outputTokens: fc.integer({ min: 0, max: 60 }),
  gapMs: fc.nat(200),
  seed: fc.nat(3),
});

describe('EngineCore', () => {
  it('the shares of all requests sum to the time the engine was busy', () => {
    fc.assert(
      fc.property(fc.array(job, { minLength: 1, maxLength: 30 }), (jobs) => {
        const { core, submit, iterations } = createTestEngine({ kvCapacityTokens: 12_000 });
        let arrivedAtMs = 0;
        const running = jobs.map((one) => {
          arrivedAtMs += one.gapMs;
          return submit({ prompt: textOf(one.promptTokens, one.seed), outputTokens: one.outputTokens, arrivedAtMs });
        });
        expect(core.step(1e9)).toBeUndefined();
        const charged = running.reduce((sum, { account }) => sum + account.prefillMs + account.decodeMs, 0);
        const durations = iterations.reduce((sum, iteration) => sum + iteration.endMs - iteration.startMs, 0);
        expect(Math.abs(charged - core.busyMs)).toBeLessThan(1e-6 * core.busyMs);
        expect(Math.abs(durations - core.busyMs)).toBeLessThan(1e-6 * core.busyMs);
        for (const [index, { account, finished }] of running.entries()) {
          expect(account.completionTokens).toBe(jobs[index]?.outputTokens);
          expect(finished.atMs).not.toBeNull();
        }
        expect(core.kvBlocks.used).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('no iteration processes more tokens than the budget, and a long prompt is prefilled in chunks', () => {
    const { core, submit, iterations } = createTestEngine();
    submit({ prompt: textOf(100, 2), outputTokens: 50, arrivedAtMs: 0 });
    submit({ prompt: textOf(7000), outputTokens: 2, arrivedAtMs: 20 });
    core.step(1e9);
    const tokens = iterations.map(({ members }) =>
      members.reduce((sum, member) => sum + Math.max(1, member.prefillTokens), 0),
    );
    expect(Math.max(...tokens)).toBe(2048);
    const chunks = iterations.flatMap(({ members }) => members.filter((member) => member.prefillTokens > 100));
    expect(chunks.map((chunk) => chunk.prefillTokens)).toEqual([2047, 2047, 2047, 859]);
    expect(chunks.map((chunk) => chunk.contextTokens)).toEqual([0, 2047, 4094, 6141]);
  });

  it('never more sequences run than the maximum, and the rest wait their turn', () => {
    const { core, submit, iterations } = createTestEngine({ maxSequences: 3 });
    const running = Array.from({ length: 10 }, (_, seed) =>
      submit({ prompt: textOf(50, seed), outputTokens: 5, arrivedAtMs: 0 }),
    );
    core.step(1e9);
    expect(Math.max(...iterations.map(({ members }) => members.length))).toBe(3);
    const ends = running.map(({ finished }) => finished.atMs ?? 0);
    expect([...ends].sort((one, other) => one - other)).toEqual(ends);
  });

  it('with one sequence at a time no iteration is shared', () => {
    const { core, submit, iterations } = createTestEngine({
      maxSequences: 1,
      coefficients: slowToBaseline(coefficients),
    });
    for (const seed of [1, 2, 3]) submit({ prompt: textOf(50, seed), outputTokens: 4, arrivedAtMs: 0 });
    core.step(1e9);
    expect(iterations.map(({ members }) => members.length)).toEqual(Array.from({ length: 12 }, () => 1));
  });

  it('the baseline needs ten times the GPU time of the optimised engine with eight chats in flight', () => {
    const spend = (overrides: Partial<EngineSettings>): number => {
      const { core, submit } = createTestEngine({ noiseCv: 0, prefixCache: false, ...overrides });
      for (let seed = 0; seed < 80; seed += 1) submit({ prompt: textOf(500, seed), outputTokens: 300, arrivedAtMs: 0 });
      core.step(1e9);
      return core.busyMs;
    };
    const slow = spend({ maxSequences: 1, coefficients: slowToBaseline(coefficients) });
    const ratio = slow / spend({ maxSequences: 8 });
    expect(ratio).toBeGreaterThan(9.5);
    expect(ratio).toBeLessThan(10.5);
  });

  it('KV memory is never overcommitted: the youngest is preempted, computed again, and still completes', () => {
    const { core, submit } = createTestEngine({ kvCapacityTokens: 640, prefixCache: false });
    const running = [1, 2, 3].map((seed) =>
      submit({ prompt: textOf(100, seed), outputTokens: 200, arrivedAtMs: seed }),
    );
    let due: number | undefined = 0;
    while (due !== undefined) {
      due = core.step(due);
      expect(core.kvBlocks.used).toBeLessThanOrEqual(20);
    }
    expect(core.preemptions).toBeGreaterThan(0);
    for (const { account, tokensAtMs } of running) {
      expect(account.completionTokens).toBe(200);
      expect(tokensAtMs).toHaveLength(200);
    }
    expect(running[0]?.account.prefillMs).toBeLessThan(running[2]?.account.prefillMs ?? 0);
  });

  it('a sequence handed over by another engine makes its further tokens here, and computes its prompt only after a preemption', () => {
    const { core, submit, iterations } = createTestEngine({ prefixCache: false });
    const one = submit({ prompt: textOf(1000), outputTokens: 5, arrivedAtMs: 0, handedOver: true });
    core.step(1e9);
    expect(one.account).toMatchObject({ prefillMs: 0, completionTokens: 4, steps: 4, cachedTokens: 0 });
    expect(iterations.map(({ members }) => members[0]?.contextTokens)).toEqual([1001, 1002, 1003, 1004]);
    const small = createTestEngine({ kvCapacityTokens: 640, prefixCache: false });
    const running = [1, 2, 3].map((seed) =>
      small.submit({ prompt: textOf(100, seed), outputTokens: 200, arrivedAtMs: seed, handedOver: true }),
    );
    small.core.step(1e9);
    expect(small.core.preemptions).toBeGreaterThan(0);
    expect(running[0]?.account.prefillMs).toBe(0);
    expect(running[2]?.account.prefillMs).toBeGreaterThan(0);
    expect(running.map(({ account }) => account.completionTokens)).toEqual([199, 199, 199]);
  });

  it('a prompt seen before is found in the cache up to its last full block, and costs no prefill there', () => {
    const { core, submit } = createTestEngine();
    const first = submit({ prompt: textOf(1000), outputTokens: 1, arrivedAtMs: 0 });
    core.step(1e6);
    const again = submit({ prompt: textOf(1000), outputTokens: 1, arrivedAtMs: 1e6 });
    const longer = submit({ prompt: `${textOf(1000)}${textOf(500, 9)}`, outputTokens: 1, arrivedAtMs: 2e6 });
    const other = submit({ prompt: textOf(1000, 5), outputTokens: 1, arrivedAtMs: 3e6 });
    core.step(1e7);
    expect(first.account.cachedTokens).toBe(0);
    expect(again.account.cachedTokens).toBe(992);
    expect(longer.account.cachedTokens).toBe(992);
    expect(other.account.cachedTokens).toBe(0);
    expect(again.account.prefillMs).toBeLessThan(first.account.prefillMs / 2);
  });

  it('a prompt that is all full blocks still computes its last block', () => {
    const { core, submit } = createTestEngine();
    submit({ prompt: textOf(64), outputTokens: 1, arrivedAtMs: 0 });
    core.step(1e6);
    const again = submit({ prompt: textOf(64), outputTokens: 1, arrivedAtMs: 1e6 });
    core.step(1e7);
    expect(again.account.cachedTokens).toBe(32);
  });

  it('without prefix cache nothing is ever found in it', () => {
    const { core, submit } = createTestEngine({ prefixCache: false });
    submit({ prompt: textOf(1000), outputTokens: 1, arrivedAtMs: 0 });
    const again = submit({ prompt: textOf(1000), outputTokens: 1, arrivedAtMs: 1e6 });
    core.step(1e7);
    expect(again.account.cachedTokens).toBe(0);
  });

  it('the least recently used prefix is given up when room is needed, its tail before its head', () => {
    const { core, submit } = createTestEngine({ kvCapacityTokens: 2048 });
    for (const [index, seed] of [1, 2, 3].entries()) {
      submit({ prompt: textOf(960, seed), outputTokens: 1, arrivedAtMs: index * 1e5 });
    }
    core.step(1e6);
    const newest = submit({ prompt: textOf(960, 3), outputTokens: 1, arrivedAtMs: 1e6 });
    core.step(2e6);
    const oldest = submit({ prompt: textOf(960, 1), outputTokens: 1, arrivedAtMs: 2e6 });
    core.step(3e6);
    expect(newest.account.cachedTokens).toBe(928);
    expect(oldest.account.cachedTokens).toBeLessThanOrEqual(64);
  });

  it('an aborted sequence leaves the batch and its memory at once, and still pays the iteration it was in', () => {
    const { core, submit } = createTestEngine({ prefixCache: false });
    const leaving = submit({ prompt: textOf(100, 1), outputTokens: 1000, arrivedAtMs: 0 });
    const staying = submit({ prompt: textOf(100, 2), outputTokens: 20, arrivedAtMs: 0 });
    core.step(100);
    const stepsBefore = leaving.account.steps;
    const blocksBefore = core.kvBlocks.used;
    core.abort(leaving.sequence);
    core.abort(leaving.sequence);
    expect(core.kvBlocks.used).toBeLessThan(blocksBefore);
    core.step(1e9);
    expect(leaving.account.steps).toBe(stepsBefore + 1);
    expect(leaving.finished.atMs).toBeNull();
    expect(staying.account.completionTokens).toBe(20);
    const charged = [leaving, staying].reduce((sum, { account }) => sum + account.prefillMs + account.decodeMs, 0);
    expect(charged).toBeCloseTo(core.busyMs, 6);
  });

  it('a late caller sees the same iterations at the same instants as a punctual one', () => {
    const run = (stepMs: number): Iteration[] => {
      const { core, submit, iterations } = createTestEngine();
      for (const [index, seed] of [1, 2, 3, 4].entries()) {
        submit({ prompt: textOf(400, seed), outputTokens: 30, arrivedAtMs: index * 37 });
      }
      for (let nowMs = 0; nowMs < 2000; nowMs += stepMs) core.step(nowMs);
      return iterations;
    };
    const instants = (iterations: Iteration[]): number[][] => iterations.map(({ startMs, endMs }) => [startMs, endMs]);
    expect(instants(run(250))).toEqual(instants(run(1)));
  });

  it('the same seed gives the same run, another seed another', () => {
    const run = (seed: number): number => {
      const { core, submit } = createTestEngine({ seed });
      submit({ prompt: textOf(400), outputTokens: 30, arrivedAtMs: 0 });
      core.step(1e9);
      return core.busyMs;
    };
    expect(run(1)).toBe(run(1));
    expect(run(1)).not.toBe(run(2));
  });

  it('an idle engine is not busy, and takes up work at the instant it arrives', () => {
    const { core, submit, iterations } = createTestEngine();
    expect(core.step(500)).toBeUndefined();
    submit({ prompt: textOf(10), outputTokens: 1, arrivedAtMs: 1000 });
    expect(core.step(700)).toBe(1000);
    core.step(1e6);
    expect(iterations[0]?.startMs).toBe(1000);
    expect(core.busyMs).toBeLessThan(20);
  });

  it('what can never fit, and what exceeds the queue, is refused', () => {
    const { core, submit } = createTestEngine({ kvCapacityTokens: 320, maxQueued: 1 });
    const refusal = (order: Job): string => {
      try {
        submit(order);
        return 'taken';
      } catch (error) {
        return error instanceof SequenceRefusedError ? error.reason : 'other';
      }
    };
    expect(refusal({ prompt: textOf(300), outputTokens: 20, arrivedAtMs: 0 })).toBe('too_long');
    expect(refusal({ prompt: textOf(300), outputTokens: 19, arrivedAtMs: 0 })).toBe('taken');
    expect(refusal({ prompt: textOf(30), outputTokens: 19, arrivedAtMs: 0 })).toBe('queue_full');
    expect(core.queuedSequences).toBe(1);
  });
});
