// How many tokens an answer has, and how many of them there were before an instant. Not here: its prompt and queue (work-timeline.ts), the pace (step-clock.ts).
import type { AttemptFeatures } from './attempt-features.ts';
import type { StepClock } from './step-clock.ts';
import type { AttemptShape, FinalFacts } from './work-timeline.ts';

/** Part of an answer's time in which the pace must be known for it to tell how far the answer was. */
export const KNOWN_PART_MIN = 0.8;
/** Events of a cut stream are taken for its tokens unless the pace says this many times as many. */
const EVENTS_TOLERANCE = 1.25;

/**
 * Output tokens: as counted; of an answer that was cut, and nobody counted, at least as many as the engine's pace says it made. Events of a cut
 * stream are no count where each may hold several tokens: the pace is believed where it is clearly faster.
 */
export function countCutOutput(
  shape: AttemptShape,
  features: AttemptFeatures,
  known: {
    readonly counted: number | null;
    readonly facts: FinalFacts;
    readonly clock: StepClock | null;
    readonly firstMs: number;
  },
): number {
  const { counted, facts, clock, firstMs } = known;
  const seen = counted ?? estimateOutput(shape, features, facts, firstMs);
  const isSaid = facts.whole || (counted !== null && counted !== features.events);
  const endMs = features.endMs ?? firstMs;
  const curve = isSaid || clock === null ? null : clock.curve(firstMs, endMs);
  if (curve === null || curve.knownPart(firstMs) < KNOWN_PART_MIN) return seen;
  const paced = shape.sequences + Math.floor(curve.stepsBefore(endMs) * shape.sequences);
  const limited = shape.maxTokens === null ? paced : Math.min(paced, shape.maxTokens * shape.sequences);
  return counted === null ? Math.max(seen, limited) : limited > EVENTS_TOLERANCE * seen ? limited : seen;
}

function estimateOutput(shape: AttemptShape, features: AttemptFeatures, facts: FinalFacts, firstMs: number): number {
  if (shape.stream || facts.whole) return features.events;
  const seconds = Math.max(0, (features.endMs ?? firstMs) - firstMs) / 1000;
  const steps = shape.sequences + Math.floor(seconds * facts.estimatedStepsPerSecond * shape.sequences);
  return shape.maxTokens === null ? steps : Math.min(steps, shape.maxTokens * shape.sequences);
}

/** Chunks are not tokens: the true count follows the events by cumulative rounding. */
export function scaledEvents(features: AttemptFeatures, output: number): (epochMs: number) => number {
  const events = features.events;
  return (epochMs) => Math.round((features.eventsUntil(epochMs) * output) / events);
}

/** The first token at `firstMs`, the last at `endMs`, the others evenly between. */
export function evenOutput(firstMs: number, endMs: number, output: number): (epochMs: number) => number {
  return (epochMs) => {
    if (epochMs <= firstMs || output === 0) return 0;
    if (epochMs > endMs) return output;
    return Math.min(output, 1 + Math.floor(((epochMs - firstMs) / (endMs - firstMs)) * (output - 1)));
  };
}
