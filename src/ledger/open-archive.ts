// The days of an archive folder that a rebuild can use: complete, with their figures, undamaged. Not here: reading one (archive-books.ts).
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SettledRecordJson } from '#domain/settlement.ts';
import type { Voucher } from '#domain/voucher.ts';
import { type ArchivedDay, readBooksFile } from './archive-books.ts';
import { readArchivedVouchers } from './archive-vouchers.ts';
import { readArchivedRecords } from './archived-records.ts';
import type { DayManifest } from './export-day.ts';
import { checkVouchers } from './voucher-chain.ts';

/** The archive is damaged; the message names the file. */
export class ArchiveDamagedError extends Error {
  override name = 'ArchiveDamagedError';
}

export interface Archive {
  /** First epoch seconds, ascending. */
  readonly days: readonly number[];
  readonly vouchers: readonly Voucher[];
  read(day: number): Promise<ArchivedDay>;
  readRecords(day: number): AsyncGenerator<SettledRecordJson[]>;
}

/** An empty archive where the folder is none. Rejects with ArchiveDamagedError where a file is not what its manifest says. */
export async function openArchive(folder: string): Promise<Archive> {
  const manifests = folder !== '' && existsSync(folder) ? readManifests(folder) : [];
  const vouchers = folder === '' ? [] : await readArchivedVouchers(folder);
  const lastClose = vouchers.findLast(({ content }) => content.kind === 'close');
  const broken = checkVouchers(vouchers, lastClose?.content.kind === 'close' ? lastClose.content.to : 0);
  if (broken !== null) throw new ArchiveDamagedError(`vouchers.ndjson in ${folder} is damaged at ${broken.id}`);
  const paths = new Map(manifests.map(({ day, name }) => [day, join(folder, name)]));
  return {
    days: [...paths.keys()].toSorted((a, b) => a - b),
    vouchers,
    read: (day) => readBooksFile(paths.get(day) ?? ''),
    readRecords: (day) => readArchivedRecords(folder, day),
  };
}

function readManifests(folder: string): readonly { readonly day: number; readonly name: string }[] {
  return readdirSync(folder)
    .filter((name) => /^manifest-\d{4}-\d{2}-\d{2}\.json$/.test(name))
    .flatMap((name) => {
      const { day, complete, books, files } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as DayManifest;
      if (!complete || books === undefined) return [];
      for (const file of [books, ...files]) {
        const path = join(folder, file.name);
        const found = existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'missing';
        if (found !== file.sha256) throw new ArchiveDamagedError(`${path} is not what ${name} says: ${found}`);
      }
      return [{ day: Date.parse(day) / 1000, name: books.name }];
    });
}
