import { readdirSync, readFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, expect, test } from 'vitest';
import { openDatabase, readSchema } from '#store/sqlite/open-database.ts';
import { BOOK_COLUMNS, CELL_COLUMNS } from '#store/sqlite/sql-columns.ts';
import { STORE_SCHEMA } from '#store/store-options.ts';

const folder = mkdtempSync(join(tmpdir(), 'inferometer-migrations-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('migrations are numbered from 1 without a gap and the last is the schema of this program', () => {
  const names = readdirSync(new URL('../../../../src/store/sqlite/migrations/', import.meta.url)).sort();
  expect(names.map((name) => Number(name.slice(0, 4)))).toEqual(Array.from({ length: STORE_SCHEMA }, (_, i) => i + 1));
});

test('the tables have a column for every metric, in the order of storage, and are strict and durable', () => {
  const db = openDatabase(join(folder, 'deep', 'er', 'store.db'));
  const columns = (table: string) =>
    db
      .prepare('SELECT name FROM pragma_table_info(?)')
      .all(table)
      .map((row) => row['name']);
  expect(columns('rollups')).toEqual(['granularity', 'start', 'dims_id', ...CELL_COLUMNS]);
  expect(columns('books')).toEqual(['hour', 'pool', 'deployments', 'gpu', ...BOOK_COLUMNS]);
  const loose = db.prepare(
    "SELECT name FROM pragma_table_list WHERE type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite_%'",
  );
  expect(loose.all()).toEqual([]);
  expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
  expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
  expect(readSchema(db)).toBe(STORE_SCHEMA);
  db.close();
});

test('opening again migrates nothing and keeps the epoch', () => {
  const path = join(folder, 'again.db');
  const read = () => {
    const db = openDatabase(path);
    const row = db.prepare('SELECT epoch FROM store').all();
    db.close();
    return row;
  };
  const first = read();
  expect(first).toHaveLength(1);
  expect(read()).toEqual(first);
});

test('a store of layout 1 is brought up: what it holds stays, and hours after its frontier count as wholly kept', () => {
  const path = join(folder, 'layout-1.db');
  const sql = readFileSync(
    new URL('../../../../src/store/sqlite/migrations/0001-initial.sql', import.meta.url),
    'utf8',
  );
  const old = new DatabaseSync(path);
  old.exec(sql);
  old.exec(`PRAGMA user_version = 1; PRAGMA application_id = ${0x49_4e_46_4d}`);
  old.exec(`INSERT INTO store (id, epoch, alive_ms, last_call_ms, frontier, freeze_count, freeze_hash, board_version, facts_version, facts)
    VALUES (1, 'kept', 0, 0, 7201, 5, 'h', 0, 0, '{}')`);
  old.exec("INSERT INTO members VALUES ('j', 'live', 1, 9, 'h', 7201, 0, 5, 0, '[]')");
  old.exec("INSERT INTO record_batches (first_ended_ms, last_ended_ms, body) VALUES (1, 2, x'00')");
  old.close();
  const db = openDatabase(path);
  expect(readSchema(db)).toBe(STORE_SCHEMA);
  expect(db.prepare('SELECT epoch, entries_from FROM store').get()).toEqual({ epoch: 'kept', entries_from: 10_800 });
  expect(db.prepare('SELECT journal, seq, entry FROM members').get()).toEqual({ journal: 'j', seq: 9, entry: '' });
  expect(db.prepare('SELECT count(*) AS batches FROM record_batches').get()).toEqual({ batches: 1 });
  db.close();
});
