// Rows on their way from the worker thread: one array of texts, one of integers. A hundred thousand objects of bigints, copied one by one
// between threads, would take seconds. No SQL.

/** `count` rows of `texts.length / count` texts and `values.length / count` integers each. */
export interface PackedRows {
  readonly count: number;
  readonly texts: readonly string[];
  readonly values: BigInt64Array;
}

/** Packs rows of `textCount` texts followed by integers. */
export function packRows(rows: Iterable<readonly unknown[]>, textCount: number): PackedRows {
  const texts: string[] = [];
  const integers: bigint[] = [];
  let count = 0;
  for (const row of rows) {
    count += 1;
    for (let i = 0; i < textCount; i += 1) texts.push(String(row[i]));
    for (let i = textCount; i < row.length; i += 1) {
      const value = row[i];
      integers.push(typeof value === 'bigint' ? value : 0n);
    }
  }
  return { count, texts, values: BigInt64Array.from(integers) };
}

/** Calls `read` for each row with its texts and integers; both arrays are the callee's own. */
export function unpackRows<T>(
  { count, texts, values }: PackedRows,
  read: (texts: readonly string[], values: BigInt64Array) => T,
): T[] {
  if (count === 0) return [];
  const [textCount, valueCount] = [texts.length / count, values.length / count];
  const found: T[] = [];
  for (let row = 0; row < count; row += 1) {
    found.push(
      read(
        texts.slice(row * textCount, (row + 1) * textCount),
        values.subarray(row * valueCount, (row + 1) * valueCount),
      ),
    );
  }
  return found;
}
