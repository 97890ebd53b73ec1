import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { EXPIRE_HOURS } from '#store/sqlite/sqlite-ledger.ts';

const at = (text: string) => Date.parse(text) / 1000;

describe('the expiry of hour cells', () => {
  it('spares the first and last UTC day of each month until days expire too', () => {
    const db = new DatabaseSync(':memory:');
    db.exec('CREATE TABLE rollups (granularity TEXT, start INTEGER)');
    const insert = db.prepare('INSERT INTO rollups VALUES (?, ?)');
    const hours = [
      '2025-05-31T23:00:00Z',
      '2026-08-31T22:00:00Z',
      '2026-09-01T00:00:00Z',
      '2026-09-15T10:00:00Z',
      '2026-11-20T10:00:00Z',
    ];
    for (const hour of hours) insert.run('hour', at(hour));
    insert.run('day', at('2025-01-01T00:00:00Z'));
    db.prepare(EXPIRE_HOURS).run(at('2026-10-18T00:00:00Z'), at('2025-10-18T00:00:00Z'));
    const left = db.prepare('SELECT granularity, start FROM rollups ORDER BY start').all();
    expect(left.map(({ granularity, start }) => [granularity, Number(start)])).toEqual([
      ['day', at('2025-01-01T00:00:00Z')],
      ...hours.filter((hour) => !/2025|09-15/.test(hour)).map((hour) => ['hour', at(hour)]),
    ]);
    db.close();
  });
});
