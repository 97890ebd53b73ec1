// The store contract on SQLite, and what only a file can show.
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { silentLog } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { SqliteStore } from '#store/sqlite/sqlite-store.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { describeLearnerStore } from './learner-store.case.ts';
import { describeSettledBooks } from './settled-books.case.ts';
import { describeSettlementStore } from './settlement-store.case.ts';
import type { StoreSuite } from './store-rig.ts';
import { claimOf, freezeOf, JournalAuthor, recordAt } from './settlement-messages.ts';

const { folder } = new StorePlaces('sqlite');

const DAY_MS = 86_400_000;
let count = 0;
let path = '';
let nowMs = Date.now();

const newPath = () => {
  count += 1;
  nowMs = Date.now();
  return join(folder, 'made', 'by', 'open', `store-${count}.db`);
};

const create = (file: string) =>
  new SqliteStore({
    path: file,
    prefix: 'inferometer',
    timeoutMs: 10_000,
    readTimeoutMs: 10_000,
    retention: { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS },
    log: silentLog,
    now: () => nowMs,
  });

/** Waits no longer than this for an answer. */
const createHasty = (file: string, timeoutMs: number): SqliteStore =>
  new SqliteStore({
    path: file,
    prefix: '',
    timeoutMs,
    readTimeoutMs: timeoutMs,
    retention: { recordsMs: DAY_MS, rollupsMs: DAY_MS },
    log: silentLog,
  });

const suite: StoreSuite = {
  name: 'sqlite',
  createStore: async () => {
    path = newPath();
    const store = create(path);
    return { settlement: store, books: store, learner: store };
  },
  createSecondClient: async () => {
    const store = create(path);
    return { settlement: store, books: store, learner: store };
  },
  raiseSchema: async () => {
    const db = new DatabaseSync(path);
    db.exec('PRAGMA user_version = 99');
    db.close();
  },
  advanceMs: async (ms) => {
    nowMs += ms;
  },
  skip: [],
};

describeSettlementStore(suite);
describeSettledBooks(suite);
describeLearnerStore(suite);

describe('sqlite only', () => {
  test('the database of another program is refused', async () => {
    const file = join(folder, 'foreign.db');
    const db = new DatabaseSync(file);
    db.exec('CREATE TABLE notes (text TEXT)');
    db.close();
    const store = create(file);
    await expect(store.open()).rejects.toMatchObject({ name: 'StoreSchemaError' });
    await store.close();
  });

  test('what was answered is still there after the worker thread ended', async () => {
    const file = newPath();
    const store = create(file);
    const author = new JournalAuthor((await store.open()).epoch);
    const { frontier } = await store.join(author);
    await store.close();
    const again = create(file);
    await again.open();
    expect((await again.readFreezeInput()).frontier).toBe(frontier);
    await again.close();
  });

  test('nothing is acknowledged into a file that was removed, until it is back', async () => {
    const file = newPath();
    const store = create(file);
    const author = new JournalAuthor((await store.open()).epoch);
    const { frontier } = await store.join(author);
    const message = author.next({ sealedThrough: frontier ?? 0 });
    renameSync(file, `${file}.aside`);
    for (const call of [store.sync(message), store.readFreezeInput(), store.readStatus(), store.open()])
      await expect(call).rejects.toThrow(`${file} was removed or replaced`);
    await expect(store.readEpoch()).rejects.toThrow(StoreUnavailableError);
    renameSync(`${file}.aside`, file);
    expect((await store.sync(message)).seq).toBe(message.seq);
    await store.close();
  });

  test('two clients of one file see each other and both may write', async () => {
    const file = newPath();
    const [left, right] = [create(file), create(file)];
    const [{ epoch }] = await Promise.all([left.open(), right.open()]);
    const authors = [new JournalAuthor(epoch), new JournalAuthor(epoch)] as const;
    await left.join(authors[0]);
    const reply = await right.join(authors[1]);
    expect(reply.members).toHaveLength(2);
    const at = reply.frontier ?? 0;
    const replies = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? left : right).sync((authors[i % 2] ?? authors[0]).next({ sealedThrough: at })),
      ),
    );
    expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 'ok'));
    await Promise.all([left.close(), right.close()]);
  });

  test('a call that waits for a locked file is refused within the limit, and the store recovers', async () => {
    const file = newPath();
    const store = createHasty(file, 200);
    const author = new JournalAuthor((await store.open()).epoch);
    const lock = new DatabaseSync(file);
    lock.exec('BEGIN IMMEDIATE');
    await expect(store.join(author)).rejects.toThrow(StoreUnavailableError);
    lock.exec('ROLLBACK');
    lock.close();
    await expect.poll(() => store.join(author).catch(() => null), { timeout: 10_000 }).toMatchObject({ status: 'ok' });
    await store.close();
  });

  test('a message that is still being applied when its caller asks again is applied once, and that answer is given', async () => {
    const file = newPath();
    const store = createHasty(file, 500);
    const author = new JournalAuthor((await store.open()).epoch);
    const joined = await store.join(author);
    const message = author.next({ sealedThrough: joined.frontier ?? 0 });
    const lock = new DatabaseSync(file);
    lock.exec('BEGIN IMMEDIATE');
    await expect(store.sync(message)).rejects.toThrow(StoreUnavailableError);
    const askedMs = Date.now();
    const again = [store.sync(message), store.sync(message)];
    lock.exec('ROLLBACK');
    lock.close();
    // Given to the thread a second time, it would be answered with `already`.
    for (const reply of await Promise.all(again)) {
      expect(reply).toMatchObject({ status: 'ok', seq: 1 });
      // The caller sets its clock by it: no older than its question.
      expect(reply.nowMs).toBeGreaterThanOrEqual(askedMs);
    }
    expect(await store.sync(message)).toMatchObject({ status: 'already', seq: 1 });
    await store.close();
  });

  test('records, cells and books leave the store when their retention ends', async () => {
    const file = newPath();
    // Not today: hours of the first and last day of a month stay for as long as days do.
    nowMs = Date.UTC(2026, 10, 15, 12);
    const store = create(file);
    const author = new JournalAuthor((await store.open()).epoch);
    const joined = await store.join(author);
    const at = joined.frontier ?? 0;
    await store.commitFreeze(freezeOf(await store.readFreezeInput(), at + 1, { [author.journal]: 4n }));
    const seen = await store.sync(author.next({ sealedThrough: at }));
    await store.sync(author.next({ sealedThrough: at, claim: claimOf(seen, { records: [recordAt(nowMs)] }) }));
    const read = async () => {
      const period = { from: at - 40 * 86_400, to: at + 86_400 };
      const sizes = await Promise.all([
        store.readRecords({ limit: 5 }).then(({ records }) => records.length),
        store.readRollups(period, 'hour').then((cells) => cells.length),
        store.readRollups(period, 'day').then((cells) => cells.length),
        store.readBooks(period).then((cells) => cells.length),
      ]);
      return sizes;
    };
    expect(await read()).toEqual([1, 1, 1, 1]);
    nowMs += 38 * DAY_MS;
    await store.commitFreeze(freezeOf(await store.readFreezeInput(), at + 4000, {}));
    expect((await read()).slice(0, 3)).toEqual([0, 0, 1]);
    nowMs += 440 * DAY_MS;
    await store.commitFreeze(freezeOf(await store.readFreezeInput(), at + 8000, {}));
    expect((await read())[2]).toBe(0);
    await store.close();
  });
});
