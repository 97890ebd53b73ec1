import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLog } from '#domain/log.ts';
import { openStore } from '#store/open-store.ts';
import { STORE_SCHEMA } from '#store/store-options.ts';

const retention = { recordsMs: 86_400_000, rollupsMs: 86_400_000 };
const options = { prefix: 'inferometer', timeoutMs: 50, retention, log: silentLog };

test('a SQLite URL opens a file whose folder is made', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-open-'));
  const path = join(folder, 'data', 'books.db');
  const store = openStore({ ...options, url: `sqlite:${path}` });
  expect(store.describe()).toBe(`sqlite:${path}`);
  const { epoch, schema } = await store.settlement.open();
  expect(schema).toBe(STORE_SCHEMA);
  expect((await store.books.readStatus()).epoch).toBe(epoch);
  expect(existsSync(path)).toBe(true);
  await store.settlement.close();
  rmSync(folder, { recursive: true });
});

test('a Redis URL is described without its password', () => {
  const store = openStore({ ...options, url: 'redis://user:secret@127.0.0.1:1/4' });
  expect(store.describe()).toBe('redis://127.0.0.1:1/4');
});

test('another URL is refused without repeating it', () => {
  expect(() => openStore({ ...options, url: 'mysql://user:secret@h/db' })).toThrow(/store\.url must start with/);
  expect(() => openStore({ ...options, url: 'mysql://user:secret@h/db' })).not.toThrow(/secret/);
});
