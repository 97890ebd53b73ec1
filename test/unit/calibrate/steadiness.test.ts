// Telling an idle engine from a busy one by its answers alone.
import { describe, expect, it } from 'vitest';
import { createCalibrationRandom } from '#src/calibrate/seeded-random.ts';
import { findUnsteadiness } from '#src/calibrate/steadiness.ts';

const random = createCalibrationRandom(1);
const STEP_MS = 16.5;
const times = (count: number, make: (index: number) => number): number[] =>
  Array.from({ length: count }, (_, index) => make(index));
const quietGaps = () => times(96, () => STEP_MS * (1 + 0.04 * random.normal()));
const quietWaits = () => times(48, () => 25 + 0.8 * random.normal());

describe('findUnsteadiness', () => {
  it('an engine that varies by 4 % and a timer that is late now and then are no sign of others', () => {
    for (let round = 0; round < 50; round += 1) {
      // A late event makes one gap longer and the next as much shorter.
      const late = quietGaps().map((gap, index) => gap + (index % 13 === 5 ? 9 : index % 13 === 6 ? -9 : 0));
      expect(findUnsteadiness({ firstTokenMs: quietWaits(), gapsMs: [late, quietGaps()] })).toEqual([]);
    }
  });

  it('a machine that is late in a third of its answers is no sign of others', () => {
    for (let round = 0; round < 50; round += 1) {
      const waits = quietWaits().map((wait, index) => wait + (index % 3 === 0 ? 12 * random.uniform() : 0));
      expect(findUnsteadiness({ firstTokenMs: waits, gapsMs: [quietGaps(), quietGaps()] })).toEqual([]);
    }
  });

  it('a request that waits for the running iteration of others is noticed at every seed', () => {
    for (let round = 0; round < 50; round += 1) {
      const waits = times(48, () => 25 + STEP_MS * random.uniform());
      expect(findUnsteadiness({ firstTokenMs: waits, gapsMs: [quietGaps(), quietGaps()] })).toHaveLength(1);
    }
  });

  it('prompts of others computed between our tokens are noticed', () => {
    const gaps = quietGaps().map((gap, index) => gap + (index % 20 === 7 ? 90 : 0));
    expect(findUnsteadiness({ firstTokenMs: quietWaits(), gapsMs: [gaps, gaps] }).join(' ')).toContain(
      'time per token',
    );
  });

  it('without streams, as for embeddings, equal requests are compared with each other', () => {
    expect(findUnsteadiness({ firstTokenMs: quietWaits(), gapsMs: [] })).toEqual([]);
    expect(findUnsteadiness({ firstTokenMs: times(48, () => 25 + 40 * random.uniform()), gapsMs: [] })).toHaveLength(1);
  });
});
