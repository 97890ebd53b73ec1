// The loop keeps the engine on absolute instants, however late its timer fires.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EngineCore } from '#simulator/engine-core.ts';
import { createRequestAccount } from '#simulator/engine-sequence.ts';
import { RealTimeLoop, readEpochMs } from '#simulator/real-time-loop.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function startEngine() {
  const core = new EngineCore({
    coefficients: { iterationMs: 7.3, prefillTokenMs: 0, prefillContextMs: 0, decodeStepMs: 0, contextTokenMs: 0 },
    noiseCv: 0,
    maxSequences: 8,
    tokenBudget: 2048,
    kvCapacityTokens: 100_000,
    prefixCache: false,
    maxQueued: 10,
    seed: 1,
  });
  const loop = new RealTimeLoop(core);
  const tokensAtMs: number[] = [];
  const startedAtMs = readEpochMs();
  const sequence = core.submit({
    promptTokens: 1,
    promptBlocks: [],
    outputTokens: 1000,
    arrivedAtMs: startedAtMs,
    account: createRequestAccount(),
    listener: { onToken: (_index, atMs) => tokensAtMs.push(atMs - startedAtMs), onFinish: () => {} },
  });
  loop.wake();
  return { core, loop, sequence, tokensAtMs };
}

describe('RealTimeLoop', () => {
  it('makes as many tokens as the time allows, though every tick is rounded up', () => {
    const { tokensAtMs } = startEngine();
    vi.advanceTimersByTime(730);
    expect(tokensAtMs.length).toBeGreaterThanOrEqual(99);
    for (const [index, atMs] of tokensAtMs.entries()) expect(atMs).toBeCloseTo((index + 1) * 7.3, 1);
  });

  it('makes up for a late tick by running several iterations at once, and writes down how late it was', () => {
    const { core, loop, tokensAtMs } = startEngine();
    vi.advanceTimersByTime(8);
    expect(tokensAtMs).toHaveLength(1);
    // The event loop is blocked: the clock runs on by 100 ms before the next timer fires.
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 100);
    vi.advanceTimersByTime(8);
    vi.restoreAllMocks();
    expect(tokensAtMs).toHaveLength(Math.floor(108 / 7.3));
    expect(core.iterations).toBe(tokensAtMs.length);
    expect(loop.lateness.maxMs).toBeCloseTo(108 - 2 * 7.3, 1);
  });

  it('keeps no timer when there is nothing to do, or when it was closed', () => {
    const { core, loop, sequence, tokensAtMs } = startEngine();
    core.abort(sequence);
    vi.advanceTimersByTime(50);
    expect(vi.getTimerCount()).toBe(0);
    expect(tokensAtMs).toHaveLength(0);
    const other = startEngine();
    other.loop.close();
    expect(vi.getTimerCount()).toBe(0);
    loop.close();
  });
});
