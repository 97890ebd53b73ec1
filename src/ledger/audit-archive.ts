// Compares the archive's day manifests with the store: the heads of all chains, and that each file is what its manifest says. For `ledger verify`.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { canonicalJson } from '#attribution/freeze-chain.ts';
import { type ArchiveMarks, RESTORED } from '#domain/archive-marks.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { type Breakage, createBreakage } from './breakage.ts';
import { readChainHeads } from './chain-heads.ts';
import type { ArchiveFile, DayManifest } from './export-day.ts';

export interface ArchiveAudit {
  readonly ledger: LedgerReader;
  readonly books: BooksReader;
  readonly marks: ArchiveMarks;
  /** `retention.archive`; empty for none. */
  readonly folder: string;
  /** `share` 0 … 1. */
  readonly onProgress: (share: number, text: string) => void;
}

/**
 * The first archived day that is not what the store holds of it; null when all are. Days that took something after their export, and days that have
 * left the store, are checked for their files alone.
 */
export async function checkArchive({
  ledger,
  books,
  marks,
  folder,
  onProgress,
}: ArchiveAudit): Promise<Breakage | null> {
  if (folder === '' || !existsSync(folder)) return null;
  const names = readdirSync(folder)
    .filter((name) => /^manifest-\d{4}-\d{2}-\d{2}\.json$/.test(name))
    .toSorted();
  const exported = await marks.readExported();
  for (const [i, name] of names.entries()) {
    onProgress(i / names.length, name);
    const {
      files,
      books: booked,
      ledgerHash,
      ...content
    } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as DayManifest;
    const day = Date.parse(content.day) / 1000;
    const tell = (expected: string, found: string): Breakage =>
      createBreakage('manifest', { id: content.day, hour: day }, { expected, found });
    const hash = createHash('sha256').update(canonicalJson(content)).digest('hex');
    if (hash !== ledgerHash) return tell(ledgerHash, hash);
    for (const file of [...files, ...(booked === undefined ? [] : [booked])]) {
      const found = await hashFile(folder, file);
      if (found !== file.sha256) return tell(`${file.name} ${file.sha256}`, found);
    }
    const mark = exported.get(day);
    if (mark === undefined || mark === RESTORED) continue;
    if (mark !== ledgerHash) return tell(`${mark} as it was exported`, ledgerHash);
    const now = await readChainHeads({ ledger, books }, day);
    // Digests of freezes leave the store long before the day does.
    const freezes = now.freezes === null ? null : content.chains.freezes;
    const [then, there] = [canonicalJson({ ...content.chains, freezes }), canonicalJson(now)];
    if (then !== there && exported.get(day) === (await marks.readExported()).get(day)) return tell(then, there);
  }
  return null;
}

async function hashFile(folder: string, { name }: ArchiveFile): Promise<string> {
  const path = join(folder, name);
  if (!existsSync(path)) return 'missing';
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
