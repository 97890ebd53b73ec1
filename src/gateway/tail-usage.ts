// Usage in the last bytes of a document that is too large to be parsed whole.
import { listMembers } from './json-members.ts';

/** The usage object that stands last in the tail of a large document, as `{usage}`; its own braces say where it ends. */
export function parseTailUsage(tail: string): { readonly usage: unknown } | undefined {
  const at = tail.lastIndexOf('"usage"');
  if (at === -1) return undefined;
  const bytes = Buffer.from(`{${tail.slice(at)}`);
  const [usage] = listMembers(bytes, 0);
  if (usage === undefined) return undefined;
  try {
    return { usage: JSON.parse(bytes.toString('utf8', usage.valueStart, usage.valueEnd)) };
  } catch {
    return undefined;
  }
}
