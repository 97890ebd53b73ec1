// Every settled record of a store, page by page. Not here: what they are compared with (score-run.ts).
import type { BooksReader, RecordQuery } from '#domain/books.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';

/** All of them, newest first. */
export async function readAllRecords(store: Pick<BooksReader, 'readRecords'>): Promise<readonly SettledRecordJson[]> {
  const records: SettledRecordJson[] = [];
  let cursor: string | null = null as string | null;
  do {
    const query: RecordQuery = cursor === null ? { limit: 1000 } : { limit: 1000, cursor };
    const page: Awaited<ReturnType<BooksReader['readRecords']>> = await store.readRecords(query);
    records.push(...page.records);
    cursor = page.next;
  } while (cursor !== null);
  return records;
}
