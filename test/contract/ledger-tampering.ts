// Reaches behind the ports of both stores, as someone with the database's password could. For tests of what `ledger verify` finds.
import { DatabaseSync } from 'node:sqlite';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Redis } from 'ioredis';
import {
  BOOK_METRICS,
  CELL_METRICS,
  type BookMetric,
  type CellMetric,
  type SettledRecordJson,
  type SyncMessage,
} from '#domain/settlement.ts';
import { toColumn } from '#store/sqlite/sql-columns.ts';

/** Changes stored bytes of one store. Entries are named by journal and their place in it, from 0. */
export interface Tampering {
  editEntry(journal: string, place: number, edit: (text: string) => string): Promise<void>;
  /** Edits the JSON of the batch that holds a record. */
  editRecord(recordId: string, edit: (text: string) => string): Promise<void>;
  deleteEntry(journal: string, place: number): Promise<string>;
  /** Exchanges the bodies of two entries. */
  swapEntries(journal: string, places: readonly [number, number]): Promise<string>;
  addToCell(granularity: string, start: number, metric: CellMetric, amount: number): Promise<void>;
  addToBook(hour: number, metric: BookMetric, amount: number): Promise<void>;
  /** Exchanges two digests of an hour. */
  swapFreezes(hour: number): Promise<void>;
  deleteFreezeHour(hour: number): Promise<void>;
}

const unpack = (body: Uint8Array) => inflateRawSync(body).toString();

export function tamperWithSqlite(path: string): Tampering {
  const run = <T>(work: (db: DatabaseSync) => T): T => {
    const db = new DatabaseSync(path);
    try {
      return work(db);
    } finally {
      db.close();
    }
  };
  const entryAt = (db: DatabaseSync, journal: string, place: number) => {
    const row = db
      .prepare('SELECT seq, body FROM claim_entries WHERE journal = ? ORDER BY seq LIMIT 1 OFFSET ?')
      .get(journal, place);
    return { seq: Number(row?.['seq']), body: row?.['body'] as Uint8Array };
  };
  const write = (db: DatabaseSync, journal: string, seq: number, body: Uint8Array) =>
    db.prepare('UPDATE claim_entries SET body = ? WHERE journal = ? AND seq = ?').run(body, journal, seq);
  return {
    editEntry: async (journal, place, edit) =>
      run((db) => {
        const { seq, body } = entryAt(db, journal, place);
        write(db, journal, seq, deflateRawSync(edit(unpack(body))));
      }),
    editRecord: async (recordId, edit) =>
      run((db) => {
        for (const { id, body } of db.prepare('SELECT id, body FROM record_batches').all()) {
          const text = unpack(body as Uint8Array);
          if (text.includes(`"${recordId}"`))
            db.prepare('UPDATE record_batches SET body = ? WHERE id = ?').run(deflateRawSync(edit(text)), Number(id));
        }
      }),
    deleteEntry: async (journal, place) =>
      run((db) => {
        const { seq } = entryAt(db, journal, place);
        db.prepare('DELETE FROM claim_entries WHERE journal = ? AND seq = ?').run(journal, seq);
        return `${journal}.${seq}`;
      }),
    swapEntries: async (journal, [left, right]) =>
      run((db) => {
        const [one, other] = [entryAt(db, journal, left), entryAt(db, journal, right)];
        write(db, journal, one.seq, other.body);
        write(db, journal, other.seq, one.body);
        return `${journal}.${one.seq}`;
      }),
    addToCell: async (granularity, start, metric, amount) =>
      run((db) => {
        const column = toColumn(metric);
        db.prepare(`UPDATE rollups SET ${column} = ${column} + ? WHERE granularity = ? AND start = ?`).run(
          amount,
          granularity,
          start,
        );
      }),
    addToBook: async (hour, metric, amount) =>
      run((db) => {
        const column = toColumn(metric);
        db.prepare(`UPDATE books SET ${column} = ${column} + ? WHERE hour = ?`).run(amount, hour);
      }),
    swapFreezes: async (hour) =>
      run((db) => {
        const [one, other] = db.prepare('SELECT k, digest FROM freeze_digests WHERE hour = ? ORDER BY k').all(hour);
        const update = db.prepare('UPDATE freeze_digests SET digest = ? WHERE k = ?');
        update.run(other?.['digest'] as Uint8Array, Number(one?.['k']));
        update.run(one?.['digest'] as Uint8Array, Number(other?.['k']));
      }),
    deleteFreezeHour: async (hour) =>
      run((db) => {
        db.prepare('DELETE FROM freeze_hours WHERE hour = ?').run(hour);
      }),
  };
}

export function tamperWithRedis(admin: Redis, prefix: string): Tampering {
  const start = `${prefix}:{s0}:`;
  const keysOf = async (kind: string) => (await admin.keys(`${start}${kind}:*`)).toSorted();
  const entries = async (journal: string) => {
    const found: { key: string; field: string; seq: number; value: Buffer }[] = [];
    for (const key of await keysOf('entries')) {
      for (const field of await admin.hkeys(key)) {
        const value = await admin.hgetBuffer(key, field);
        if (field.startsWith(`${journal}.`) && value !== null)
          found.push({ key, field, seq: Number(field.slice(journal.length + 1)), value });
      }
    }
    return found.toSorted((a, b) => a.seq - b.seq);
  };
  const entryAt = async (journal: string, place: number) => {
    const entry = (await entries(journal))[place];
    if (entry === undefined) throw new Error('no such entry');
    const cut = entry.value.indexOf(10) + 1;
    return { ...entry, link: entry.value.subarray(0, cut), body: entry.value.subarray(cut) };
  };
  return {
    editEntry: async (journal, place, edit) => {
      const { key, field, link, body } = await entryAt(journal, place);
      await admin.hset(key, field, Buffer.concat([link, deflateRawSync(edit(unpack(body)))]));
    },
    editRecord: async (recordId, edit) => {
      for (const key of await keysOf('bodies')) {
        for (const field of await admin.hkeys(key)) {
          const text = unpack((await admin.hgetBuffer(key, field)) ?? Buffer.alloc(0));
          if (text.includes(`"${recordId}"`)) await admin.hset(key, field, deflateRawSync(edit(text)));
        }
      }
    },
    deleteEntry: async (journal, place) => {
      const { key, field } = await entryAt(journal, place);
      await admin.hdel(key, field);
      return field;
    },
    swapEntries: async (journal, [left, right]) => {
      const [one, other] = [await entryAt(journal, left), await entryAt(journal, right)];
      await admin.hset(one.key, one.field, Buffer.concat([one.link, other.body]));
      await admin.hset(other.key, other.field, Buffer.concat([other.link, one.body]));
      return one.field;
    },
    addToCell: async (granularity, at, metric, amount) => {
      await admin.hincrby(`${start}cells:${granularity}:${at}`, `1:${CELL_METRICS.indexOf(metric)}`, amount);
    },
    addToBook: async (hour, metric, amount) => {
      await admin.hincrby(`${start}books:${hour}`, `${BOOK_METRICS.indexOf(metric)}:trt-1`, amount);
    },
    swapFreezes: async (hour) => {
      const key = `${start}freezes:${hour}`;
      const [one, other] = await admin.lrangeBuffer(key, 1, 2);
      await admin.lset(key, 1, other ?? '');
      await admin.lset(key, 2, one ?? '');
    },
    deleteFreezeHour: async (hour) => {
      await admin.del(`${start}freezes:${hour}`);
    },
  };
}

/** Edits of an entry's text, for `editEntry`. */
export function editMessage(edit: (message: SyncMessage & { claim: NonNullable<SyncMessage['claim']> }) => unknown) {
  return (text: string): string => {
    const body = JSON.parse(text) as { message: SyncMessage & { claim: NonNullable<SyncMessage['claim']> } };
    edit(body.message);
    return JSON.stringify(body);
  };
}

/** Edits of one record of a batch, for `editRecord`. */
export function editRecordOf(recordId: string, edit: (record: SettledRecordJson) => SettledRecordJson) {
  return (text: string): string => {
    const records = JSON.parse(text) as SettledRecordJson[];
    return JSON.stringify(records.map((record) => (record.recordId === recordId ? edit(record) : record)));
  };
}
