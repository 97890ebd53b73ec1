// Refills a SQLite store that lost its books; runs in the worker thread. Not here: what is written (ledger).
import type { BookCell } from '#domain/books.ts';
import { type RecordTexts, writeMessage, writeRecords } from '#domain/message-text.ts';
import type {
  RestoredCell,
  RestoredClaim,
  RestoredFreezes,
  RestoredMember,
  RestoredState,
} from '#domain/restore-store.ts';
import { BOOK_METRICS, CELL_METRICS, type SettledRecordJson } from '#domain/settlement.ts';
import { hourOf } from '#domain/window.ts';
import { formatLink, packEntry } from '../claim-entries.ts';
import { type PackedRecords, packRecords } from '../record-batches.ts';
import { formatDims } from '../rollup-cells.ts';
import { BOOK_COLUMNS, CELL_COLUMNS } from './sql-columns.ts';
import { internDims } from './intern-dims.ts';
import { ADD_BATCH, ADD_ENTRY } from './sqlite-ledger.ts';
import { addLateClaim, writeVoucher } from './sqlite-vouchers.ts';
import { writeMember } from './sqlite-members.ts';
import type { Statements } from './statements.ts';

const places = (count: number) => Array.from({ length: count }, () => '?').join(', ');

const READ_FRONTIER = 'SELECT frontier FROM store WHERE id = 1';
// What an interrupted rebuild left; the other tables are set again by their keys.
const CLEAR = [
  'members',
  'messages',
  'board',
  'health',
  'freezes',
  'shares',
  'record_batches',
  'vouchers',
  'late_claims',
].map((table) => `DELETE FROM ${table}`);
const BEGIN = `UPDATE store SET epoch = '', alive_ms = 0, last_call_ms = 0, freeze_count = 0, freeze_hash = '',
  board_version = 0, facts_version = 0, facts = '{}', entries_from = 0 WHERE id = 1`;
const SET_CELL = `INSERT OR REPLACE INTO rollups (granularity, start, dims_id, ${CELL_COLUMNS.join(', ')})
  VALUES (${places(3 + CELL_COLUMNS.length)})`;
const SET_BOOK = `INSERT OR REPLACE INTO books (hour, pool, deployments, gpu, ${BOOK_COLUMNS.join(', ')})
  VALUES (${places(4 + BOOK_COLUMNS.length)})`;
const SET_FREEZE_HOUR = 'INSERT OR REPLACE INTO freeze_hours (hour, first_k, previous_hash) VALUES (?, ?, ?)';
const SET_DIGEST = 'INSERT OR REPLACE INTO freeze_digests (k, hour, digest) VALUES (?, ?, ?)';
const DROP_ENTRY = 'DELETE FROM claim_entries WHERE journal = ? AND seq = ?';
const SET_FREEZE = 'INSERT OR REPLACE INTO freezes (k, hash) VALUES (?, ?)';
const SET_SHARE = 'INSERT INTO shares (journal, k, total_nano_usd, entry) VALUES (?, ?, ?, ?)';
const SET_MESSAGE = 'INSERT INTO messages (journal, seq, hash, claim_applied, late_count) VALUES (?, ?, ?, ?, 0)';
const SET_BOARD = 'INSERT OR IGNORE INTO board (window, journal, pool, publication) VALUES (?, ?, ?, ?)';
const SET_HEALTH = 'INSERT OR REPLACE INTO health (journal, pool, window, healthy) VALUES (?, ?, ?, ?)';
const FINISH = `UPDATE store SET epoch = ?, frontier = ?, freeze_count = ?, freeze_hash = ?, board_version = 1,
  facts_version = ?, facts = ?, entries_from = ?, closed_through = ? WHERE id = 1`;

/** See StoreRestorer for what each method promises; each is one transaction. */
export class SqliteRestore {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  beginRestore(): boolean {
    return this.#statements.transact(() => {
      if (this.#statements.get(READ_FRONTIER)?.['frontier'] !== null) return false;
      for (const sql of CLEAR) this.#statements.run(sql);
      this.#statements.run(BEGIN);
      return true;
    });
  }

  restoreCells(cells: readonly RestoredCell[]): void {
    this.#statements.transact(() => {
      for (const { granularity, start, values, ...dims } of cells) {
        const amounts = CELL_METRICS.map((_, i) => values[i] ?? 0n);
        this.#statements.run(SET_CELL, granularity, start, internDims(this.#statements, formatDims(dims)), ...amounts);
      }
    });
  }

  restoreBooks(books: readonly BookCell[]): void {
    this.#statements.transact(() => {
      for (const { hour, pool, deployments, gpu, metrics } of books) {
        this.#statements.run(SET_BOOK, hour, pool, deployments, gpu, ...BOOK_METRICS.map((metric) => metrics[metric]));
      }
    });
  }

  restoreRecords(day: number, part: number, records: readonly SettledRecordJson[]): void {
    this.#statements.transact(() => this.#addBatches(`archive-${day}`, part, writeRecords(records)));
  }

  restoreClaims(claims: readonly RestoredClaim[]): void {
    this.#statements.transact(() => {
      for (const { message, previous, closedThrough } of claims) {
        if (message.claim === null) continue;
        const { journal, seq, sealedThrough } = message;
        const { shell, records } = writeMessage(message);
        const packed = this.#addBatches(journal, seq, records);
        const { day, body } = packEntry({ sealedThrough, shell }, packed, closedThrough);
        this.#statements.run(DROP_ENTRY, journal, seq);
        this.#statements.run(ADD_ENTRY, journal, seq, day, formatLink(previous), body);
      }
    });
  }

  #addBatches(journal: string, seq: number, records: RecordTexts): PackedRecords {
    const packed = packRecords(records);
    for (const [part, { firstEndedMs, lastEndedMs, body }] of packed.batches.entries()) {
      this.#statements.run(ADD_BATCH, firstEndedMs, lastEndedMs, journal, seq, part, body);
    }
    return packed;
  }

  restoreFreezes({ hour, firstK, previousHash, digests }: RestoredFreezes): void {
    this.#statements.transact(() => {
      this.#statements.run(SET_FREEZE_HOUR, hour, firstK, previousHash);
      for (const [i, digest] of digests.entries()) {
        this.#statements.run(SET_DIGEST, firstK + i, hourOf(hour), Buffer.from(digest, 'hex'));
      }
    });
  }

  finishRestore(state: RestoredState): void {
    this.#statements.transact(() => {
      for (const { k, hash } of state.chain) this.#statements.run(SET_FREEZE, k, hash);
      for (const member of state.members) this.#addMember(member);
      for (const { journal, publication } of state.board) {
        const { window, pool } = publication;
        this.#statements.run(SET_BOARD, window, journal, pool, JSON.stringify(publication));
      }
      for (const { journal, pool, window, healthy } of state.health) {
        this.#statements.run(SET_HEALTH, journal, pool, window, healthy ? 1 : 0);
      }
      for (const voucher of state.vouchers) writeVoucher(this.#statements, voucher);
      for (const late of state.lateClaims) addLateClaim(this.#statements, late);
      const { epoch, frontier, k, freezeHash, facts, entriesFrom, closedThrough } = state;
      const pools = JSON.stringify(facts.pools);
      this.#statements.run(FINISH, epoch, frontier, k, freezeHash, facts.version, pools, entriesFrom, closedThrough);
    });
  }

  #addMember(member: RestoredMember): void {
    const { messages, shares, ...row } = member;
    writeMember(this.#statements, { ...row, seenAliveMs: 0, latePublications: 0 });
    for (const { seq, hash, claimApplied } of messages) {
      const answered = claimApplied === null ? null : Number(claimApplied);
      this.#statements.run(SET_MESSAGE, member.journal, seq, hash, answered);
    }
    for (const share of shares) {
      const total = BigInt(share.totalNanoUsd);
      this.#statements.run(SET_SHARE, member.journal, share.k, total, JSON.stringify(share));
    }
  }
}
