// Opens the SQLite file: durability settings, proof that it is ours, numbered forward-only migrations. No settlement.
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { StoreSchemaError } from '#domain/settlement-store.ts';
import { STORE_SCHEMA } from '../store-options.ts';

/** "INFM" in ASCII, kept in the file header, so that another program's database is never taken for a store. */
const APPLICATION_ID = 0x49_4e_46_4d;

/** Another process (a report beside the gateway) may hold the write lock this long before a call fails. */
const BUSY_TIMEOUT_MS = 1000;

/**
 * Opens or creates the store at `path` and its parent folder and migrates it to STORE_SCHEMA. Safe to repeat and to race:
 * migrations run in an exclusive transaction. Throws StoreSchemaError for a newer store or a file of another program.
 */
export function openDatabase(path: string): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true });
  const db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    checkOwner(db);
    db.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY',
    );
    migrate(db);
    return db;
  } catch (err) {
    db.close();
    throw err;
  }
}

function checkOwner(db: DatabaseSync): void {
  const tables = readNumber(db, 'SELECT count(*) AS value FROM sqlite_schema');
  const owner = readNumber(db, 'SELECT application_id AS value FROM pragma_application_id');
  if (tables > 0 && owner !== APPLICATION_ID) {
    throw new StoreSchemaError('the SQLite file of store.url holds the tables of another program');
  }
  const schema = readSchema(db);
  if (schema > STORE_SCHEMA) {
    throw new StoreSchemaError(`the store has schema ${schema}, this program knows up to ${STORE_SCHEMA}: upgrade it`);
  }
}

/** The schema number of an open store; 0 for an empty file. */
export function readSchema(db: DatabaseSync): number {
  return readNumber(db, 'SELECT user_version AS value FROM pragma_user_version');
}

function migrate(db: DatabaseSync): void {
  if (readSchema(db) === STORE_SCHEMA) return;
  db.exec('BEGIN EXCLUSIVE');
  try {
    // Read again: another process may have migrated while this one waited for the lock.
    for (const { number, sql } of loadMigrations().filter(({ number }) => number > readSchema(db))) {
      db.exec(sql);
      db.exec(`PRAGMA user_version = ${number}; PRAGMA application_id = ${APPLICATION_ID}`);
    }
    db.prepare(
      `INSERT OR IGNORE INTO store (id, epoch, alive_ms, last_call_ms, frontier, freeze_count, freeze_hash, board_version, facts_version, facts)
       VALUES (1, ?, 0, 0, NULL, 0, '', 0, 0, '{}')`,
    ).run(randomUUID());
    db.exec('COMMIT');
  } catch (err) {
    db.exec('ROLLBACK');
    throw err;
  }
}

/** Migration files in order of their number. */
function loadMigrations(): { number: number; sql: string }[] {
  const folder = fileURLToPath(new URL('migrations/', import.meta.url));
  return readdirSync(folder)
    .filter((name) => /^\d{4}-.+\.sql$/.test(name))
    .sort()
    .map((name) => ({ number: Number(name.slice(0, 4)), sql: readFileSync(`${folder}/${name}`, 'utf8') }));
}

function readNumber(db: DatabaseSync, sql: string): number {
  return Number(db.prepare(sql).get()?.['value'] ?? 0);
}
