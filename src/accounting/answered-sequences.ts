// How many sequences an attempt really ran, as far as its answer tells. Not here: reading answers (gateway), what sequences cost (window-slices.ts).
import type { AttemptShape, FinalFacts } from './work-timeline.ts';

/**
 * Asked-for sequences that the answer does not hold were not run: engines ignore what they do not know, and who asks for a thousand answers and
 * gets one would pay for a thousandth of it, their neighbours for the rest. Each prompt runs as one at least; where the answer does not tell, all
 * are believed.
 */
export function answeredSequences(
  { sequences, promptCount = 1 }: Pick<AttemptShape, 'sequences' | 'promptCount'>,
  final: Pick<FinalFacts, 'sequences'> | null,
): number {
  return Math.min(sequences, Math.max(promptCount, final?.sequences ?? sequences));
}
