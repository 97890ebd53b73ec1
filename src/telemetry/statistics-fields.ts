// Lists of JSON objects as an engine's statistics are: fields read one by one, since every version has others. Not here: what they mean.

/** One object of an engine's statistics, as it came. */
export type Fields = Readonly<Record<string, unknown>>;

/** The objects of a list, and how many entries it has with those that are none; null where the text is no list: an error, or another server. */
export function parseList(text: string): { readonly entries: number; readonly objects: readonly Fields[] } | null {
  const parsed = parseJson(text);
  return Array.isArray(parsed) ? { entries: parsed.length, objects: parsed.filter(isFields) } : null;
}

/** A number that can be a count or a time; null for anything else. */
export function readNumber(fields: Fields, name: string): number | null {
  const value = fields[name];
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
}

/** An object inside; an empty one where there is none. */
export function readFields(fields: Fields, name: string): Fields {
  const value = fields[name];
  return isFields(value) ? value : {};
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
