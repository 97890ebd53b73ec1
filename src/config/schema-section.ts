// Mappings and lists of the config as zod schemas: unknown keys are errors with a suggestion. Scalars: schema-leaf.ts.
import { z } from 'zod';
import { ScalarText, UNRESOLVED } from './scalar.ts';
import { ALREADY_REPORTED } from './schema-leaf.ts';

/** What stands here when a scalar stands where a mapping belongs must not look like one to the schema. */
const unwrapScalar = (raw: unknown): unknown => (raw instanceof ScalarText ? raw.value : raw);

/** A mapping with exactly these keys. `<key>File` never gets here: secret-files.ts has replaced it by `<key>`. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const schema = z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') {
        return issue.keys.map((key) => describeUnknownKey(key, Object.keys(shape))).join('\n');
      }
      return issue.input === UNRESOLVED
        ? ALREADY_REPORTED
        : `expected a mapping with the keys ${Object.keys(shape).join(', ')}`;
    },
  });
  return z.preprocess(unwrapScalar, schema);
}

/** A section that may be left out: all its keys then have their defaults. */
export function sectionWithDefaults<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.preprocess((raw) => raw ?? {}, section(shape));
}

/** A list of at least `min` items. */
export function list<Item extends z.ZodType>(item: Item, min = 0) {
  const message = min === 0 ? 'expected a list' : `expected a list of at least ${min}`;
  return z
    .array(item, { error: (issue) => (issue.input === UNRESOLVED ? ALREADY_REPORTED : message) })
    .min(min, { error: message })
    .max(10_000, { error: 'at most 10000 items' });
}

/** A mapping with free keys. */
export function mapping<Value extends z.ZodType>(value: Value) {
  const schema = z.record(z.string(), value, {
    error: (issue) => (issue.input === UNRESOLVED ? ALREADY_REPORTED : 'expected a mapping'),
  });
  return z.preprocess(unwrapScalar, schema);
}

/** One line for a key that is not in the schema, with the nearest known key or all of them. */
export function describeUnknownKey(key: string, known: readonly string[]): string {
  const nearest = nearestWord(key, known);
  return nearest === undefined
    ? `unknown key: expected one of ${known.join(', ')}`
    : `unknown key: did you mean ${nearest}?`;
}

/** The known word with the fewest edits from `word`, if these are at most a third of its length. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Edits, a swap of neighbours counting as one (optimal string alignment); words beyond 64 characters are unlike all. */
function editDistance(left: string, right: string): number {
  if (left.length > 64 || right.length > 64) return Infinity;
  const rows: number[][] = [Array.from({ length: right.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number): number => rows[row]?.[column] ?? Infinity;
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    rows.push(current);
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      current.push(
        Math.min(
          at(row - 1, column - 1) + (same ? 0 : 1),
          at(row - 1, column) + 1,
          at(row, column - 1) + 1,
          swapped ? at(row - 2, column - 2) + 1 : Infinity,
        ),
      );
    }
  }
  return at(left.length, right.length);
}
