// Slices by window: what is counted is what would be read, in memory or not, and nothing of what was dropped.
import { describe, expect, it } from 'vitest';
import { type SealedSlice, SealedSlices } from '#accounting/sealed-slices.ts';
import { createSliceFeatures } from '#attribution/work-model.ts';

function slicesAt(window: number, count: number): SealedSlice[] {
  const features = createSliceFeatures();
  return Array.from({ length: count }, (_, i) => ({
    recordId: `${window}-${i}.1`,
    pool: 'pool-a',
    deployment: 'llama-8b',
    window,
    features,
  }));
}

describe('sealed slices', () => {
  it('counts the slices of a window without reading them, also those that only the journal holds', () => {
    const sealed = new Map<number, SealedSlice[]>();
    const reloaded: number[] = [];
    const slices = new SealedSlices(5, (seq) => {
      reloaded.push(seq);
      return sealed.get(seq) ?? [];
    });
    sealed.set(1, [...slicesAt(10, 4), ...slicesAt(11, 2)]);
    sealed.set(2, slicesAt(12, 3));
    slices.add({ seq: 1, fromWindow: 10, toWindow: 11, slices: sealed.get(1) ?? [], evictable: true });
    slices.add({ seq: 2, fromWindow: 12, toWindow: 12, slices: sealed.get(2) ?? [], evictable: true });
    expect([9, 10, 11, 12, 13].map((window) => slices.count(window))).toEqual([0, 4, 2, 3, 0]);
    expect(reloaded).toEqual([]);
    expect(slices.read(11, 12)).toHaveLength(5);
    expect(reloaded).toEqual([1]);
  });

  it('reads what only the journal holds once for claims that take it part by part, and lets go of it with the last', () => {
    const reloaded: number[] = [];
    const parts = [...slicesAt(10, 2), ...slicesAt(11, 2), ...slicesAt(12, 2)];
    const slices = new SealedSlices(0, (seq) => {
      reloaded.push(seq);
      return parts.filter(({ window }) => (seq === 1 ? window < 12 : window === 12));
    });
    slices.add({ seq: 1, fromWindow: 10, toWindow: 11, slices: parts.slice(0, 4), evictable: true });
    slices.add({ seq: 2, fromWindow: 12, toWindow: 12, slices: parts.slice(4), evictable: true });
    const read = (from: number, to: number) => slices.read(from, to).map(({ recordId }) => recordId);
    expect(read(10, 10)).toEqual(['10-0.1', '10-1.1']);
    expect(read(11, 11)).toEqual(['11-0.1', '11-1.1']);
    expect(reloaded).toEqual([1]);
    expect(read(11, 12)).toEqual(['11-0.1', '11-1.1', '12-0.1', '12-1.1']);
    expect(reloaded).toEqual([1, 2]);
    slices.dropThrough(11);
    expect(read(10, 12)).toEqual(['12-0.1', '12-1.1']);
    expect(reloaded).toEqual([1, 2]);
    slices.dropThrough(12);
    slices.add({ seq: 2, fromWindow: 12, toWindow: 12, slices: parts.slice(4), evictable: true });
    expect(read(12, 12)).toEqual(['12-0.1', '12-1.1']);
    expect(reloaded).toEqual([1, 2, 2]);
  });

  it('does not count what was dropped, nor what is entered twice', () => {
    const slices = new SealedSlices(100, () => []);
    const kept = { seq: 2, fromWindow: 12, toWindow: 12, slices: slicesAt(12, 3), evictable: false };
    slices.add({ seq: 1, fromWindow: 10, toWindow: 11, slices: slicesAt(11, 2), evictable: true });
    slices.add(kept);
    slices.add(kept);
    slices.dropThrough(11);
    expect([11, 12].map((window) => slices.count(window))).toEqual([0, 3]);
    slices.add({ seq: 3, fromWindow: 13, toWindow: 13, slices: slicesAt(13, 1), evictable: true });
    slices.clear();
    expect([12, 13].map((window) => slices.count(window))).toEqual([3, 0]);
  });
});
