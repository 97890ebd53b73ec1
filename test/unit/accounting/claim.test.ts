// Pricing of shares: the vector of settlement.md down to the nanodollar, and money whose slices are lost.
import { describe, expect, it } from 'vitest';
import { AttemptFeatures } from '#accounting/attempt-features.ts';
import { AttemptRegistry } from '#accounting/attempt-registry.ts';
import { buildClaim, reachOfClaim } from '#accounting/claim.ts';
import { runWhole } from '#accounting/sliced-work.ts';
import { SealedSlices } from '#accounting/sealed-slices.ts';
import { type TrackedAttempt, trackAttempt } from '#accounting/tracked-attempt.ts';
import { createSliceFeatures } from '#attribution/work-model.ts';
import type { ShareEntry } from '#domain/settlement.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import { createEnd, createStart } from '#test/support/accounting-bench.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

const WINDOW = 1_790_000_000;
const HOUR = WINDOW - (WINDOW % 3600);

/** A finished, sealed attempt of a team that did `prefill` prompt tokens and `decode` steps in WINDOW. */
function track(registry: AttemptRegistry, id: string, work: { readonly prefill: number; readonly decode: number }) {
  const time = createVirtualClock(WINDOW * 1000);
  const start = createStart(time, id, { team: `team-${id}` });
  const shape = {
    work: 'tokens',
    prefillOnly: false,
    stream: true,
    promptBytes: 1,
    maxTokens: null,
    sequences: 1,
  } as const;
  const identity = { ...start, shape, startMs: WINDOW * 1000, profileSource: 'declared' };
  const attempt: TrackedAttempt = trackAttempt(identity, new AttemptFeatures(WINDOW * 1000, false), 1);
  attempt.record = { ...createEnd(time, start, { prompt: 1, output: 1 }).record, profileSource: 'declared' };
  attempt.lastWindow = WINDOW;
  registry.add(attempt);
  registry.markSealed(attempt);
  const features = { ...createSliceFeatures(), p: work.prefill, d: work.decode };
  return { recordId: attempt.recordId, pool: 'pool-a', deployment: 'llama-8b', window: WINDOW, features };
}

function createShare(nanoUsd: string, gpuMicros: string): ShareEntry {
  const zeros = Array.from({ length: 10 }, () => '0');
  const weights = {
    deployments: { 'llama-8b': { a: '1', halfQ: '0', d: '1', k: '0', r: zeros, profileSource: 'declared' } },
    e: zeros,
    byFlight: false,
  };
  const share = { pool: 'pool-a', window: WINDOW, nanoUsd, gpuMicros, weights, nanoUsdPerGpuHour: '2500000000' };
  return { k: 1, to: WINDOW, hash: 'h1', totalNanoUsd: nanoUsd, windows: [share] };
}

function setUp() {
  const registry = new AttemptRegistry();
  const slices = new SealedSlices(1000, () => []);
  const build = (share: ShareEntry) =>
    runWhole(buildClaim({ k0: 0, through: { k: 1, to: WINDOW, hash: 'h1' }, shares: [share], slices, registry })).claim;
  return { registry, slices, build };
}

describe('claim', () => {
  it('splits the share of settlement.md as its vector says: weights 7 and 5 of 231249 → 134895 and 96354', () => {
    const { registry, slices, build } = setUp();
    const sealed = [track(registry, 'A', { prefill: 7, decode: 0 }), track(registry, 'B', { prefill: 0, decode: 5 })];
    slices.add({ seq: 1, fromWindow: WINDOW, toWindow: WINDOW, slices: sealed, evictable: true });
    const claim = build(createShare('231249', '333000'));
    expect(claim.lines).toEqual([
      { recordId: 'A.1', hour: HOUR, phase: 'prefill', costNanoUsd: '134895', gpuMicros: '194250' },
      { recordId: 'B.1', hour: HOUR, phase: 'decode', costNanoUsd: '96354', gpuMicros: '138750' },
    ]);
    expect(claim.pools).toEqual([{ hour: HOUR, pool: 'pool-a', nanoUsd: '231249' }]);
    expect(claim.records.map((record) => record.charges[0]?.costNanoUsd)).toEqual(['134895', '96354']);
    expect(claim.records[0]?.charges[0]?.nanoUsdPerGpuHour).toBe('2500000000');
  });

  it('claims a share whose slices are lost whole, for nobody', () => {
    const { build } = setUp();
    const claim = build(createShare('1000', '5'));
    expect(claim.lines).toEqual([
      { recordId: UNATTRIBUTED, hour: HOUR, phase: 'other', costNanoUsd: '1000', gpuMicros: '5' },
    ]);
    expect(claim.increments).toMatchObject([{ team: '(unattributed)', metrics: { costNanoUsd: '1000' } }]);
    expect(claim.records).toEqual([]);
  });

  it('counts a record once and its whole cost as waste when it did not complete', () => {
    const { registry, slices, build } = setUp();
    const slice = track(registry, 'A', { prefill: 3, decode: 4 });
    const attempt = registry.get(slice.recordId);
    if (attempt !== undefined && attempt.record !== null)
      attempt.record = { ...attempt.record, outcome: 'client_aborted' };
    slices.add({ seq: 1, fromWindow: WINDOW, toWindow: WINDOW, slices: [slice], evictable: true });
    const [cell, ...others] = build(createShare('700', '70')).increments;
    expect(others).toEqual([]);
    expect(cell?.metrics).toMatchObject({
      requests: '1',
      abortedRequests: '1',
      attempts: '1',
      costNanoUsd: '700',
      prefillNanoUsd: '300',
      decodeNanoUsd: '400',
      wastedNanoUsd: '700',
      wastedGpuMicros: '70',
    });
  });

  it('a share that does not add up to its entry is not claimed', () => {
    const { build } = setUp();
    expect(() => build({ ...createShare('1000', '5'), totalNanoUsd: '1001' })).toThrow(RangeError);
  });
});

describe('reach of a claim', () => {
  /** Freezes of one window each; `slices` of this journal in it, null where it has no share. */
  const reach = (slices: readonly (number | null)[], claimed = 0) => {
    const entries = slices.map((_, i) => ({ ...createShare('1', '1'), k: i + 1, to: 100 + i, hash: `h${i + 1}` }));
    const shares = entries
      .filter((_, i) => slices[i] !== null)
      .map((entry) => ({ ...entry, windows: entry.windows.map((share) => ({ ...share, window: entry.to })) }));
    const sharesThrough = { k: slices.length, to: 99 + slices.length, hash: `h${slices.length}` };
    const count = (window: number) => slices[window - 100] ?? 0;
    return reachOfClaim({ claimed, shares, sharesThrough }, { count });
  };

  it('takes what holds 8,000 slices, and ends with a freeze that gave this journal something', () => {
    expect(reach([3000, 3000, 2000, 1])).toEqual({ through: { k: 3, to: 102, hash: 'h3' }, isCut: true });
    expect(reach([3000, 3000, null, null, 2001])).toEqual({ through: { k: 2, to: 101, hash: 'h2' }, isCut: true });
  });

  it('takes one freeze at least, however much it holds', () => {
    expect(reach([100_000, 1])).toEqual({ through: { k: 1, to: 100, hash: 'h1' }, isCut: true });
    expect(reach([null, 100_000, 1])).toEqual({ through: { k: 2, to: 101, hash: 'h2' }, isCut: true });
  });

  it('takes all, with the freezes behind the last share, where that is not too much', () => {
    expect(reach([4000, 4000, null])).toEqual({ through: { k: 3, to: 102, hash: 'h3' }, isCut: false });
    expect(reach([100_000])).toEqual({ through: { k: 1, to: 100, hash: 'h1' }, isCut: false });
    expect(reach([null, null])).toEqual({ through: { k: 2, to: 101, hash: 'h2' }, isCut: false });
  });

  it('does not count what is claimed', () => {
    expect(reach([8000, 8000], 1)).toEqual({ through: { k: 2, to: 101, hash: 'h2' }, isCut: false });
  });
});
