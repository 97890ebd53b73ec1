// Known time from iteration rows: an engine whose clock is hours off, in another time zone, that loses rows or starts again.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IterationCoverage, type KnownStretch } from '#telemetry/iteration-coverage.ts';
import type { IterationRow } from '#telemetry/iteration-rows.ts';

/** The engine's clock minus ours: nine hours and a bit. */
const OFFSET_MS = 32_400_123;

/** An iteration of the truth, on our clock. */
interface Iteration {
  readonly number: number;
  readonly endMs: number;
  readonly gpuMs: number;
}

const toRow = ({ number, endMs, gpuMs }: Iteration, offsetMs = OFFSET_MS): IterationRow => ({
  iteration: number,
  writtenMs: endMs + offsetMs,
  gpuMs,
  forwardMs: gpuMs,
  prefillTokens: 0,
  prefilling: 0,
  decoding: 1,
  cachedTokens: null,
  blockTokens: null,
});

/** Iterations of 8 ms every 10 ms from `fromMs`, numbered from `first`. */
const run = (fromMs: number, count: number, first: number): Iteration[] =>
  Array.from({ length: count }, (_, index) => ({ number: first + index, endMs: fromMs + 10 * index + 8, gpuMs: 8 }));

/** Reads the rows every half second, the first answer and those that align the clocks included. */
function poll(
  coverage: IterationCoverage,
  iterations: readonly Iteration[],
  untilMs: number,
  fromMs = 0,
): KnownStretch[] {
  const stretches: KnownStretch[] = [];
  for (let readMs = fromMs + 500; readMs <= untilMs; readMs += 500) {
    const rows = iterations.filter(({ endMs }) => endMs > readMs - 500 && endMs <= readMs);
    stretches.push(
      ...coverage.take(
        rows.map((row) => toRow(row)),
        readMs + 3,
      ),
    );
  }
  return stretches;
}

const sum = (stretches: readonly KnownStretch[]) => stretches.reduce((ms, { busyMs }) => ms + busyMs, 0);

describe('rows in order', () => {
  test('give contiguous time, as busy as the iterations took, within the way of the answer', () => {
    const stretches = poll(new IterationCoverage(), run(0, 1000, 1), 10_000).filter(({ fromMs }) => fromMs > 3000);
    for (const [index, stretch] of stretches.entries()) {
      if (index > 0) expect(stretch.fromMs).toBe(stretches[index - 1]?.toMs);
      expect(stretch.busyMs).toBeLessThanOrEqual(stretch.toMs - stretch.fromMs);
    }
    const [first, last] = [stretches[0]?.fromMs ?? 0, stretches.at(-1)?.toMs ?? 0];
    expect(sum(stretches) / (last - first)).toBeCloseTo(0.8, 2);
    // The way there took 3 ms, and rows are written at most 10 ms before they are read.
    expect(Math.abs(last - 9998)).toBeLessThanOrEqual(13);
  });

  test('make the time between them known: an engine that did nothing for seconds is idle', () => {
    const iterations = [...run(0, 300, 1), ...run(6000, 50, 301)];
    const stretches = poll(new IterationCoverage(), iterations, 7000);
    const gap = stretches.find(({ fromMs, toMs }) => toMs - fromMs > 1000);
    // The iteration stands at its end, whole: spread over the gap it would be charged to seconds in which nobody was there.
    expect(gap?.busyMs).toBe(0);
    expect((gap?.toMs ?? 0) - (gap?.fromMs ?? 0)).toBeCloseTo(3002, 6);
    const [next] = stretches.filter(({ fromMs }) => fromMs === gap?.toMs);
    expect([next?.busyMs, (next?.toMs ?? 0) - (next?.fromMs ?? 0)]).toEqual([8, 8]);
  });

  test('never claim more than there was, though rows are written early or late', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 400, maxLength: 400 }), (jitters) => {
        const iterations = run(0, 400, 1).map((row, index) => ({ ...row, endMs: row.endMs + (jitters[index] ?? 0) }));
        const stretches = poll(new IterationCoverage(), iterations, 4000);
        for (const { fromMs, toMs, busyMs } of stretches) expect(busyMs).toBeLessThanOrEqual(toMs - fromMs + 1e-9);
        const known = stretches.filter(({ fromMs, toMs }) => toMs > fromMs);
        const span = (known.at(-1)?.toMs ?? 0) - (known[0]?.fromMs ?? 0);
        expect(Math.abs(sum(stretches) - 0.8 * span)).toBeLessThan(30);
      }),
      { numRuns: 50 },
    );
  });
});

describe('what is not known', () => {
  test('rows from before the first answer are thrown away: nobody knows how old they are', () => {
    const coverage = new IterationCoverage();
    expect(
      coverage.take(
        run(-600_000, 900, 1).map((row) => toRow(row)),
        500,
      ),
    ).toEqual([]);
  });

  test('after lost rows only the iterations themselves are known', () => {
    const iterations = run(0, 600, 1).filter(({ number }) => number < 450 || number > 460);
    const stretches = poll(new IterationCoverage(), iterations, 6000);
    const after = stretches.find(({ fromMs }) => fromMs > 4500);
    expect(after).toBeDefined();
    expect((after?.toMs ?? 0) - (after?.fromMs ?? 0)).toBeCloseTo(8, 6);
    expect(stretches.some(({ fromMs, toMs }) => toMs - fromMs > 50)).toBe(false);
  });

  test('thinned rows give no coverage beyond themselves', () => {
    const stretches = poll(
      new IterationCoverage(),
      run(0, 600, 1).filter(({ number }) => number % 5 === 0),
      6000,
    );
    expect(stretches.every(({ fromMs, toMs, busyMs }) => Math.abs(toMs - fromMs - busyMs) < 1e-9)).toBe(true);
  });

  test('a restart begins anew, and a clock that is set back does not make time run twice', () => {
    const coverage = new IterationCoverage();
    poll(coverage, run(0, 400, 1), 4000);
    const back = [...run(4000, 400, 1)].map((row) => toRow(row, OFFSET_MS - 3_600_000));
    const read: KnownStretch[] = [];
    for (let readMs = 4500; readMs <= 8000; readMs += 500) {
      const rows = back.filter(({ writtenMs }) => {
        const endMs = (writtenMs ?? 0) - OFFSET_MS + 3_600_000;
        return endMs > readMs - 500 && endMs <= readMs;
      });
      read.push(...coverage.take(rows, readMs + 3));
    }
    expect(read.length).toBeGreaterThan(100);
    expect(read.every(({ fromMs, toMs }) => fromMs >= 3990 && toMs <= 8013)).toBe(true);
  });

  test('rows without instants, without GPU time or with nonsense in it say nothing', () => {
    const coverage = new IterationCoverage();
    const row = toRow({ number: 1, endMs: 0, gpuMs: 8 });
    for (let readMs = 500; readMs < 5000; readMs += 500) {
      expect(coverage.take([{ ...row, writtenMs: null }], readMs)).toEqual([]);
    }
    for (let readMs = 5000; readMs < 9000; readMs += 500) {
      const written = { ...row, writtenMs: readMs + OFFSET_MS };
      expect(
        coverage.take(
          [
            { ...written, gpuMs: null },
            { ...written, gpuMs: 1e9 },
          ],
          readMs,
        ),
      ).toEqual([]);
    }
  });
});
