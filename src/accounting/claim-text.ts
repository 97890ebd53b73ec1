// A claim as text around the texts of its records, made in steps. Not here: the message around it (message-log.ts).
import { type RecordTexts, RecordTextWriter } from '#domain/message-text.ts';
import type { Claim } from '#domain/settlement.ts';
import { eachInSteps, gatherInSteps, type SlicedWork, stringifyInSteps } from './sliced-work.ts';

/** `before`, the records joined by commas and `after` are the JSON of what it was made of. */
export interface SplitText {
  readonly before: readonly string[];
  readonly records: RecordTexts;
  readonly after: string;
}

/** The claim's JSON, its records last as in Claim. */
export function* splitClaim(claim: Claim | null): SlicedWork<SplitText> {
  const writer = new RecordTextWriter();
  if (claim === null) return { before: ['null'], records: writer.finish(), after: '' };
  const { records, ...head } = claim;
  const opening = yield* gatherInSteps(openedObject(stringifyInSteps(head)));
  yield* eachInSteps(records, (record) => writer.add(record));
  return { before: [...opening, ',"records":['], records: writer.finish(), after: ']}' };
}

/** The parts of an object's JSON without the last one, the brace that closes what is not empty. */
function* openedObject(parts: Iterable<string>): Generator<string, void, undefined> {
  let last: string | null = null;
  for (const part of parts) {
    if (last !== null) yield last;
    last = part;
  }
}
