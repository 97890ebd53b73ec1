// The list of vouchers in the archive, beside the days: what people did to the books stands in no journal. Not here: making them.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BooksReader } from '#domain/books.ts';
import type { Voucher } from '#domain/voucher.ts';

const NAME = 'vouchers.ndjson';

/** Writes all vouchers, one JSON object per line, under another name first. Rejects with the file system's error. */
export async function writeVouchers(folder: string, books: Pick<BooksReader, 'readVouchers'>): Promise<void> {
  const vouchers = await books.readVouchers();
  if (vouchers.length === 0) return;
  await mkdir(folder, { recursive: true });
  const path = join(folder, NAME);
  await writeFile(`${path}.part`, vouchers.map((voucher) => `${JSON.stringify(voucher)}\n`).join(''));
  await rename(`${path}.part`, path);
}

/** Empty where the archive has none. Throws SyntaxError on a damaged file. */
export async function readArchivedVouchers(folder: string): Promise<Voucher[]> {
  let text: string;
  try {
    text = await readFile(join(folder, NAME), 'utf8');
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return [];
    throw err;
  }
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Voucher]));
}
