// The records of one UTC day in the order of the archive, and their sums. Reads only; no files.
import type { BooksReader } from '#domain/books.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';

const DAY_SECONDS = 86_400;
/** Records are read a minute at a time: stores answer newest first, archives are oldest first. */
const SLICE_MS = 60_000;
const PAGE = 1000;

/** Settled records that ended in the day (its first epoch second), by their end, ties by record id; in slices of one minute, empty ones left out. */
export async function* readDayRecords(
  books: BooksReader,
  day: number,
): AsyncGenerator<{ readonly records: readonly SettledRecordJson[]; readonly share: number }> {
  const [fromMs, toMs] = [day * 1000, (day + DAY_SECONDS) * 1000];
  for (let startMs = fromMs; startMs < toMs; startMs += SLICE_MS) {
    const records = await readSlice(books, startMs, startMs + SLICE_MS);
    yield { records, share: (startMs + SLICE_MS - fromMs) / (toMs - fromMs) };
  }
}

async function readSlice(books: BooksReader, fromMs: number, toMs: number): Promise<SettledRecordJson[]> {
  const newestFirst: SettledRecordJson[] = [];
  let cursor: string | null = null;
  do {
    const query = { fromMs, toMs, limit: PAGE };
    const page: Awaited<ReturnType<BooksReader['readRecords']>> = await books.readRecords(
      cursor === null ? query : { ...query, cursor },
    );
    newestFirst.push(...page.records);
    cursor = page.next;
  } while (cursor !== null);
  return newestFirst.reverse();
}

/** Sums over the records of a file; money in nanodollars. */
export class ArchiveSums {
  #records = 0;
  readonly #sums = { costNanoUsd: 0n, prefillNanoUsd: 0n, decodeNanoUsd: 0n, otherNanoUsd: 0n, gpuMicros: 0n };
  readonly #tokens = { input: 0n, cachedInput: 0n, output: 0n, reasoning: 0n };

  get records(): number {
    return this.#records;
  }

  add(record: SettledRecordJson): void {
    this.#records += 1;
    for (const charge of record.charges) {
      for (const name of SUMMED) this.#sums[name] += BigInt(charge[name]);
    }
    for (const name of BUCKETS) this.#tokens[name] += BigInt(record.tokens[name] ?? 0);
  }

  /** Decimal strings; tokens that are not known count nothing. */
  read(): { readonly sums: Record<string, string>; readonly tokens: Record<string, string> } {
    const spell = (sums: Record<string, bigint>) =>
      Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum.toString()]));
    return { sums: spell(this.#sums), tokens: spell(this.#tokens) };
  }
}

const SUMMED = ['costNanoUsd', 'prefillNanoUsd', 'decodeNanoUsd', 'otherNanoUsd', 'gpuMicros'] as const;
const BUCKETS = ['input', 'cachedInput', 'output', 'reasoning'] as const;
