// Careful looks into parsed JSON of unknown shape.

/** A JSON object with any members. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The value as an object, null where it is none. */
export function asObject(value: unknown): JsonObject | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
}

/** The value as a list, undefined where it is none. */
export function asList(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}
