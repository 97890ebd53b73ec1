// Where a walk through /api/requests stands: opaque to clients, checked when it comes back.
import { ReportParameterError } from '#reports/report-error.ts';

/** Among the unsettled records after one of them, or in the books at the store's own cursor (empty: at their beginning). */
export type RequestCursor =
  | { readonly kind: 'unsettled'; readonly endedAtMs: number; readonly recordId: string }
  | { readonly kind: 'settled'; readonly store: string };

/** Base64url text. */
export function formatCursor(cursor: RequestCursor): string {
  const parts = cursor.kind === 'settled' ? ['s', cursor.store] : ['u', cursor.endedAtMs, cursor.recordId];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** Null without a cursor; throws a ReportParameterError for text that formatCursor never wrote. */
export function parseCursor(text: string | undefined): RequestCursor | null {
  if (text === undefined) return null;
  const parts = readParts(text);
  const [kind, first, second] = parts;
  if (kind === 's' && parts.length === 2 && typeof first === 'string') return { kind: 'settled', store: first };
  if (kind === 'u' && parts.length === 3 && typeof first === 'number' && typeof second === 'string') {
    return { kind: 'unsettled', endedAtMs: first, recordId: second };
  }
  throw unknownCursor();
}

function readParts(text: string): readonly unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    if (Array.isArray(parts)) return parts;
  } catch {
    // Falls through: whatever is wrong with it, the answer is the same.
  }
  throw unknownCursor();
}

/** For text that formatCursor never wrote. */
export function unknownCursor(): ReportParameterError {
  return new ReportParameterError('cursor', 'must be the "next" of an earlier answer');
}
