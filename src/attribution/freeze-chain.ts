// The hash chain over freezes: what `ledger verify` recomputes. Not here: the books and shares themselves.
import { createHash } from 'node:crypto';
import type { BookIncrement, ShareEntry } from '#domain/settlement.ts';

/** What one freeze's digest covers. Shares carry neither their own hash nor k. */
export interface FreezeContent {
  /** Last window of the freeze. */
  readonly to: number;
  readonly books: readonly BookIncrement[];
  /** By journal. */
  readonly shares: Readonly<Record<string, Pick<ShareEntry, 'totalNanoUsd' | 'windows'>>>;
}

/**
 * Hex SHA-256 of the canonical JSON of `{to, books, shares}`: keys sorted, no spaces, so that the same freeze read back from any store
 * has the same digest.
 */
export function digestFreeze(content: FreezeContent): string {
  const shares = Object.fromEntries(
    Object.entries(content.shares).map(([journal, { totalNanoUsd, windows }]) => [journal, { totalNanoUsd, windows }]),
  );
  const text = canonicalJson({ to: content.to, books: content.books, shares });
  return createHash('sha256').update(text).digest('hex');
}

/** Hex SHA-256 over the previous freeze's hash (empty text before the first) followed by the hex digest of this one's content. */
export function chainFreeze(previousHash: string, contentDigest: string): string {
  return createHash('sha256').update(previousHash).update(contentDigest).digest('hex');
}

/** JSON text with the keys of every object in code unit order and undefined members left out; for plain JSON values only. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}
