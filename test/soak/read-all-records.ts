// All records of a running gateway, page by page.
import type { TestStack } from '#test/support/gateway.ts';

export interface SoakRecord {
  readonly requestId: string;
  readonly attempt: number;
  readonly outcome: string;
  readonly status: number;
  readonly tokenSource: string;
  readonly tokens: {
    readonly input: number | null;
    readonly cachedInput: number | null;
    readonly output: number | null;
    readonly total: number | null;
  };
  readonly settled: boolean;
}

/** Each attempt once: a record that settles between two pages stands on both. */
export async function readAllRecords(stack: TestStack): Promise<SoakRecord[]> {
  const found = new Map<string, SoakRecord>();
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page: { requests: SoakRecord[]; next: string | null } = await stack.admin(`/api/requests?limit=1000${query}`);
    for (const record of page.requests) found.set(`${record.requestId}.${record.attempt}`, record);
    cursor = page.next;
  } while (cursor !== null);
  return [...found.values()];
}
