// What journals say of the freezes a lost store had.
import { describe, expect, it } from 'vitest';
import type { JournalEntry } from '#accounting/journal-entry.ts';
import { JournalFacts } from '#ledger/journal-facts.ts';

const EPOCH = 'epoch';

/** A freeze that was about to be committed; `name` stands for its chain hash. */
function freeze(name: string, k: number, previousHash: string): JournalEntry {
  const commit = { hash: name, to: 100 + k, contentDigest: '', expected: { k: k - 1, frontier: 99 + k } };
  return { t: 'freeze', epoch: EPOCH, previousHash, commit } as unknown as JournalEntry;
}
const frozen = (hash: string, k: number, atMs: number): JournalEntry => ({ t: 'frozen', hash, k, atMs });

function read(...folders: (readonly JournalEntry[])[]): JournalFacts {
  const facts = new JournalFacts();
  for (const entries of folders) {
    const take = facts.openFolder(1);
    for (const entry of entries) take(entry);
  }
  return facts;
}
const names = (facts: JournalFacts, claimed: Readonly<Record<string, number>> = {}) =>
  facts.pathOf(EPOCH, new Map(Object.entries(claimed))).map(({ hash }) => hash);

describe('the chain of freezes in the journals', () => {
  const common = [freeze('a1', 1, ''), frozen('a1', 1, 1000), freeze('a2', 2, 'a1'), frozen('a2', 2, 2000)];

  it('ends with the last freeze that the store is known to have had', () => {
    expect(names(read([...common, freeze('a3', 3, 'a2')]))).toEqual(['a1', 'a2']);
    expect(names(read([...common, freeze('a3', 3, 'a2')]), { a3: 3000 })).toEqual(['a1', 'a2', 'a3']);
  });

  it('is put together from several journals', () => {
    const other = [freeze('a3', 3, 'a2'), frozen('a3', 3, 3000)];
    expect(names(read(other, common))).toEqual(['a1', 'a2', 'a3']);
  });

  it('does not end early where the clock of a host is behind', () => {
    const other = [freeze('a3', 3, 'a2'), frozen('a3', 3, 1500)];
    expect(names(read(common, other))).toEqual(['a1', 'a2', 'a3']);
  });

  it('goes through what was confirmed after a failover, though what that lost reached further', () => {
    const lost = [freeze('a3', 3, 'a2'), frozen('a3', 3, 3000), freeze('a4', 4, 'a3'), frozen('a4', 4, 4000)];
    const after = [freeze('b3', 3, 'a2'), frozen('b3', 3, 5000)];
    expect(names(read([...common, ...lost], after))).toEqual(['a1', 'a2', 'b3']);
    expect(names(read(after, [...common, ...lost]))).toEqual(['a1', 'a2', 'b3']);
  });

  it('goes through what was claimed last, though a claim that a failover lost reached further', () => {
    const lost = [freeze('a3', 3, 'a2'), frozen('a3', 3, 3000), freeze('a4', 4, 'a3'), frozen('a4', 4, 4000)];
    const after = [freeze('b3', 3, 'a2'), frozen('b3', 3, 5000)];
    expect(names(read([...common, ...lost], after), { a4: 4500, b3: 5500 })).toEqual(['a1', 'a2', 'b3']);
  });

  it('goes through what was claimed, whenever the rest was confirmed', () => {
    const lost = [freeze('a3', 3, 'a2'), frozen('a3', 3, 9000)];
    const after = [freeze('b3', 3, 'a2'), freeze('b4', 4, 'b3'), frozen('b4', 4, 6000)];
    expect(names(read([...common, ...lost, ...after]), { b3: 5000 })).toEqual(['a1', 'a2', 'b3', 'b4']);
  });
});
