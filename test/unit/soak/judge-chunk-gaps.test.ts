import { expect, it } from 'vitest';
import { judgeChunkGaps } from '#test/soak/judge-chunk-gaps.ts';

/** A hundred gaps, of which the two longest are changed by `slowMs`, the others by a tenth of a millisecond. */
const sample = (slowMs: number, separate = 100) => ({
  differencesMs: Array.from({ length: 100 }, (_, index) => (index >= 98 ? slowMs : 0.1)),
  separate,
});

it.each([
  ['gaps that stay within a millisecond of the machine’s own are kept', sample(0.5), sample(1.4), 'kept'],
  ['gaps that grow by more on a quiet machine are changed', sample(0.5), sample(1.6), 'changed'],
  ['a restless machine says nothing against the gateway', sample(3), sample(5), 'inconclusive'],
  ['a restless machine may still say that nothing was added', sample(3), sample(3.5), 'kept'],
  ['nor do chunks that it brings together', sample(3), sample(3, 90), 'inconclusive'],
  ['chunks that come together were changed, however small the gaps', sample(0.5), sample(0.5, 90), 'changed'],
])('%s', (_name, direct, through, verdict) => {
  const judged = judgeChunkGaps({ direct, through });
  expect(judged).toMatchObject({
    verdict,
    addedP99Ms: (through.differencesMs[99] ?? 0) - (direct.differencesMs[99] ?? 0),
  });
  expect(judged.reason).not.toBe('');
});
