// Long work in short slices: a round of settlement looks at every request of a second, and no request shall wait for it longer than a
// quarter of a millisecond at each of its turns. Work is a generator that yields where others may have their turn.
// Not here: what is done (seal.ts, claim.ts, message-log.ts).
import type { Clock } from '#domain/clock.ts';

/** Work that returns T; between two of its steps the event loop may turn. */
export type SlicedWork<T> = Generator<undefined, T, undefined>;

/** Length of a slice where nobody else has much to do, as far as the steps of the work are shorter. */
const SLICE_MS = 0.25;
/** A turn of the event loop earns the work this part of its length: a process that is full of requests must not fall behind with settling them. */
const SHARE_OF_TURN = 1 / 3;
/** But never more: a turn may hold the slices of other such work, or a pause of the whole process. */
const SLICE_MAX_MS = 4;
/** Items of a loop that make one step: about a tenth of a slice. */
const STEP_ITEMS = 8;

/** Long enough to be few, and short enough to be made in a part of a slice. */
const GATHERED_CHARACTERS = 32 * 1024;

/** Does the work, letting the event loop turn after each slice. */
export async function runSliced<T>(work: SlicedWork<T>, clock: Pick<Clock, 'monotonicMs'>): Promise<T> {
  let untilMs = clock.monotonicMs() + SLICE_MS;
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    const pausedMs = clock.monotonicMs();
    if (pausedMs < untilMs) continue;
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    const nowMs = clock.monotonicMs();
    untilMs = nowMs + Math.min(SLICE_MAX_MS, Math.max(SLICE_MS, (nowMs - pausedMs) * SHARE_OF_TURN));
  }
}

/** Does the work at once. */
export function runWhole<T>(work: SlicedWork<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Calls `visit` for each item, a step for every few of them. */
export function* eachInSteps<T>(items: Iterable<T>, visit: (item: T) => void): SlicedWork<void> {
  let left = STEP_ITEMS;
  for (const item of items) {
    visit(item);
    left -= 1;
    if (left > 0) continue;
    left = STEP_ITEMS;
    yield;
  }
}

/** The JSON of an object in parts that join to it exactly: each property's value is one, of a long list a few items are. */
export function* stringifyInSteps(object: Readonly<Record<string, unknown>>): Generator<string, void, undefined> {
  let opening = '{';
  for (const [key, value] of Object.entries(object)) {
    if (value === undefined) continue;
    yield `${opening}${JSON.stringify(key)}:`;
    opening = ',';
    if (Array.isArray(value) && value.length > STEP_ITEMS) yield* stringifyList(value);
    else yield JSON.stringify(value);
  }
  yield opening === '{' ? '{}' : '}';
}

function* stringifyList(items: readonly unknown[]): Generator<string, void, undefined> {
  for (let from = 0; from < items.length; from += STEP_ITEMS) {
    const part = JSON.stringify(items.slice(from, from + STEP_ITEMS)).slice(1, -1);
    yield from === 0 ? `[${part}` : `,${part}`;
  }
  yield ']';
}

/** The parts joined to a few longer ones, a step for each. */
export function* gatherInSteps(parts: Iterable<string>): SlicedWork<readonly string[]> {
  const gathered: string[] = [];
  let open: string[] = [];
  let characters = 0;
  for (const part of parts) {
    open.push(part);
    characters += part.length;
    if (characters >= GATHERED_CHARACTERS) {
      gathered.push(open.join(''));
      open = [];
      characters = 0;
    }
    yield;
  }
  if (open.length > 0) gathered.push(open.join(''));
  return gathered;
}
