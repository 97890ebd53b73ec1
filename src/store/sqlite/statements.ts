// Runs SQL on one connection: prepared once, transactions that roll back. No SQL of its own beyond BEGIN and COMMIT.
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';

export type Row = Readonly<Record<string, SQLOutputValue>>;

/** Statements of one connection, each prepared once. */
export class Statements {
  readonly #db: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Runs a write; returns the number of changed rows. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepare(sql, 'plain').run(...values).changes);
  }

  /** First row; integers as numbers, which throws beyond 2^53. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#prepare(sql, 'plain').get(...values);
  }

  /** All rows; integers as numbers, which throws beyond 2^53. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepare(sql, 'plain').all(...values);
  }

  /** All rows with every integer as a bigint: for statements that read money. */
  allExact(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepare(sql, 'exact').all(...values);
  }

  /** The rows one by one as arrays of their columns, every integer as a bigint. */
  iterateExact(sql: string, ...values: SQLInputValue[]): IterableIterator<readonly SQLOutputValue[]> {
    const statement = this.#prepare(sql, 'rows');
    // With arrays asked for, the rows are arrays, which the types cannot know.
    return statement.iterate(...values) as unknown as IterableIterator<readonly SQLOutputValue[]>;
  }

  /** Runs `work` in one write transaction: all of it or nothing. */
  transact<T>(work: () => T): T {
    return this.#between('BEGIN IMMEDIATE', work);
  }

  /** Runs `work` on one snapshot. */
  snapshot<T>(work: () => T): T {
    return this.#between('BEGIN', work);
  }

  #between<T>(begin: string, work: () => T): T {
    this.#db.exec(begin);
    try {
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (err) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw err;
    }
  }

  #prepare(sql: string, form: 'plain' | 'exact' | 'rows'): StatementSync {
    const id = `${form} ${sql}`;
    const known = this.#prepared.get(id);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    statement.setReadBigInts(form !== 'plain');
    statement.setReturnArrays(form === 'rows');
    this.#prepared.set(id, statement);
    return statement;
  }
}
