// Two engines for one request: what each makes of an answer, and what each of them has spent on it.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DisaggregatedEngine } from '#simulator/disaggregated-engine.ts';
import { SequenceRefusedError } from '#simulator/engine-core.ts';
import type { EngineSettings } from '#simulator/engine-core.ts';
import { readEpochMs } from '#simulator/real-time-loop.ts';
import { SimulatedEngine } from '#simulator/simulated-engine.ts';

const settings: EngineSettings = {
  coefficients: { iterationMs: 1, prefillTokenMs: 0.01, prefillContextMs: 0, decodeStepMs: 0.1, contextTokenMs: 0 },
  noiseCv: 0,
  maxSequences: 16,
  tokenBudget: 2048,
  kvCapacityTokens: 4000,
  prefixCache: true,
  maxQueued: 10,
  seed: 1,
};

let prefill: SimulatedEngine;
let engine: DisaggregatedEngine;
beforeEach(() => {
  prefill = new SimulatedEngine({ model: 'm', gpus: 1, settings });
  engine = new DisaggregatedEngine({ model: 'm', gpus: 2, settings, prefill, transferMs: 1 });
});
afterEach(() => {
  engine.close();
  prefill.close();
});

/** Runs one request; resolves with its tokens, in order, when all its sequences have ended. */
async function run(outputs: readonly number[], onToken: (count: number, abort: () => void) => void = () => {}) {
  const tokens: string[] = [];
  const entry = engine.truthBook.open({ id: 'a', requestId: 'r', promptTokens: 500, arrivedAtMs: readEpochMs() });
  await new Promise<void>((resolve) => {
    let left = outputs.length;
    const generation = engine.generate({
      entry,
      sequences: outputs.map((outputTokens) => ({ promptTokens: 500, promptBlocks: [], outputTokens })),
      onToken: (sequence, index) => {
        tokens.push(`${sequence}:${index}`);
        onToken(tokens.length, () => {
          generation.abort();
          resolve();
        });
      },
      onFinish: () => {
        left -= 1;
        if (left === 0) resolve();
      },
    });
  });
  const [here, there] = [engine.readTruth().requests[0], prefill.readTruth().requests[0]];
  return { tokens, here, there };
}

it('the prompt and the first token are made there, the others here, each told once and in order', async () => {
  const { tokens, here, there } = await run([4]);
  expect(tokens).toEqual(['0:0', '0:1', '0:2', '0:3']);
  expect(there).toMatchObject({ id: 'a', requestId: 'r', completionTokens: 1, steps: 1, decodeMs: 0, aborted: false });
  // 500·0.01 + 1 there; 3 · (0.1 + 1) here.
  expect(there?.prefillMs).toBeCloseTo(6, 6);
  expect(here).toMatchObject({ id: 'a', requestId: 'r', completionTokens: 4, steps: 3, prefillMs: 0, aborted: false });
  expect(here?.decodeMs).toBeCloseTo(3.3, 6);
});

it('an answer of one token, or a prompt without any, is made there alone', async () => {
  for (const outputs of [[1], [0]]) {
    const { tokens, here } = await run(outputs);
    expect(tokens).toHaveLength(outputs[0] ?? 0);
    expect(here).toMatchObject({ gpuTimeMs: 0, steps: 0, aborted: false });
    expect(here?.finishedAtMs).not.toBeNull();
  }
});

it('sequences of unlike lengths keep their numbers on both sides', async () => {
  const { tokens, here } = await run([1, 3, 2]);
  expect(tokens.toSorted()).toEqual(['0:0', '1:0', '1:1', '1:2', '2:0', '2:1']);
  expect(here).toMatchObject({ completionTokens: 6, steps: 3 });
});

it('an abort ends it on both sides, wherever it is', async () => {
  const { tokens, here, there } = await run([2000], (count, abort) => {
    if (count === 3) abort();
  });
  // What an engine made before it heard of the abort is told: on a busy machine more than the third token.
  expect(tokens.slice(0, 3)).toEqual(['0:0', '0:1', '0:2']);
  const told = tokens.length;
  expect(told).toBeLessThan(2000);
  await delay(20);
  expect(tokens).toHaveLength(told);
  expect([here?.aborted, there?.aborted]).toEqual([true, false]);
  const entry = engine.truthBook.open({ id: 'b', requestId: null, promptTokens: 500, arrivedAtMs: readEpochMs() });
  const refuse = (): never => {
    throw new Error('it was aborted');
  };
  const sequences = [{ promptTokens: 500, promptBlocks: [], outputTokens: 9 }];
  engine.generate({ entry, sequences, onToken: refuse, onFinish: refuse }).abort();
  expect(engine.truthBook.list().at(-1)).toMatchObject({ id: 'b', aborted: true });
  expect(prefill.truthBook.list().at(-1)).toMatchObject({ id: 'b', aborted: true });
});

it('what could never run here is refused before its prompt is computed there', () => {
  const entry = engine.truthBook.open({ id: 'c', requestId: null, promptTokens: 500, arrivedAtMs: readEpochMs() });
  const sequences = [{ promptTokens: 500, promptBlocks: [], outputTokens: 4000 }];
  expect(() => engine.generate({ entry, sequences, onToken: () => {}, onFinish: () => {} })).toThrow(
    SequenceRefusedError,
  );
  expect(prefill.truthBook.list()).toEqual([]);
});
