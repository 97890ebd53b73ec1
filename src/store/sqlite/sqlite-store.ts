// All store ports on one SQLite file, as a client of the worker thread that owns it. No SQL here.
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type {
  BooksReader,
  BooksStatus,
  BookCell,
  Granularity,
  Period,
  RecordQuery,
  RollupCell,
} from '#domain/books.ts';
import type { LeaseRequest, LeaseStore } from '#domain/lease-store.ts';
import type { LearnedDocument, LearnerStore } from '#domain/learner-store.ts';
import type { EntryName, FreezeHour, LedgerEntry, LedgerHeads, LedgerReader } from '#domain/ledger.ts';
import type { ArchiveMarks } from '#domain/archive-marks.ts';
import type { StoreRestorer } from '#domain/restore-store.ts';
import { type MessageText, writeMessage } from '#domain/message-text.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import type {
  FreezeCommit,
  FreezeInput,
  SettledRecordJson,
  ShareEntry,
  SyncMessage,
  SyncReply,
} from '#domain/settlement.ts';
import {
  StoreSchemaError,
  StoreUnavailableError,
  type SettlementStore,
  type StoreIdentity,
} from '#domain/settlement-store.ts';
import type { CloseEffect, LateClaim, Voucher, VoucherStore } from '#domain/voucher.ts';
import { limitTime } from '../limit-time.ts';
import type { StoreOptions } from '../store-options.ts';
import { toBookCells, toRollupCells } from './unpack-cells.ts';
import type { CallName, WorkerRequest, WorkerResponse, WorkerSettings } from './worker-protocol.ts';

/** Calls waiting for the worker at most; more are refused at once. */
const CALLS_WAITING_MAX = 256;

/** Starting a thread and migrating a file may take this long. */
const OPEN_TIMEOUT_MS = 15_000;

export interface SqliteStoreOptions extends StoreOptions {
  /** File of the store; its folder is created. */
  readonly path: string;
  /** Epoch milliseconds in place of the host's clock; for tests. */
  readonly now?: () => number;
}

interface WaitingCall {
  resolve(value: unknown): void;
  reject(err: Error): void;
}

/** Settlement and reports on one SQLite file (WAL, synchronous=FULL). Several processes may open the same file. */
export class SqliteStore implements SettlementStore, BooksReader, LedgerReader, LeaseStore, LearnerStore, VoucherStore {
  readonly #options: SqliteStoreOptions;
  readonly #waiting = new Map<number, WaitingCall>();
  /** Messages that the thread works on, or will. */
  readonly #syncing = new Map<string, Promise<SyncReply>>();
  #worker: Worker | null = null;
  #lastId = 0;
  #isClosed = false;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
  }

  open(): Promise<StoreIdentity> {
    this.#isClosed = false;
    const { openTimeoutMs, timeoutMs } = this.#options;
    return this.#call('open', [], openTimeoutMs ?? Math.max(OPEN_TIMEOUT_MS, timeoutMs));
  }

  readEpoch(): Promise<string | null> {
    return this.#call('readEpoch', []);
  }

  now(): Promise<number> {
    return this.#call('now', []);
  }

  join(member: { journal: string; incarnation: number }): Promise<SyncReply> {
    return this.#call('join', [member]);
  }

  /** A message that is still being applied, though its caller's time was up, is not given to the thread again: its answer is waited for. */
  sync(message: SyncMessage, text?: MessageText): Promise<SyncReply> {
    const name = [message.journal, message.incarnation, message.seq, message.hash].join(' ');
    const running = this.#syncing.get(name);
    if (running !== undefined) return limitTime(this.#answerNow(running), this.#options.timeoutMs, 'sync');
    // Strings cross to the thread as bytes; objects would be walked on both sides.
    const answer = this.#ask<SyncReply>('sync', [text ?? writeMessage(message)]);
    this.#syncing.set(name, answer);
    const forget = () => this.#syncing.delete(name);
    answer.then(forget, forget);
    return limitTime(answer, this.#options.timeoutMs, 'sync');
  }

  /** The store's time in that answer may be older than the question: callers set their clocks by it. */
  async #answerNow(running: Promise<SyncReply>): Promise<SyncReply> {
    const reply = await running;
    return { ...reply, nowMs: await this.now() };
  }

  readFreezeInput(): Promise<FreezeInput> {
    return this.#call('readFreezeInput', []);
  }

  commitFreeze(commit: FreezeCommit): Promise<'committed' | 'stale'> {
    return this.#call('commitFreeze', [commit]);
  }

  putFacts(pools: FactBook['pools'], expectedVersion: number): Promise<'stored' | 'stale'> {
    return this.#call('putFacts', [pools, expectedVersion]);
  }

  readLearned(): Promise<LearnedDocument> {
    return this.#call('readLearned', []);
  }

  putLearned(text: string, expectedVersion: number): Promise<'stored' | 'stale'> {
    return this.#call('putLearned', [text, expectedVersion]);
  }

  readStatus(): Promise<BooksStatus> {
    return this.#call('readStatus', [], this.#options.readTimeoutMs);
  }

  readFacts(): Promise<FactBook> {
    return this.#call('readFacts', [], this.#options.readTimeoutMs);
  }

  async readRollups(period: Period, granularity: Granularity): Promise<readonly RollupCell[]> {
    return toRollupCells(await this.#call('readRollups', [period, granularity], this.#options.readTimeoutMs));
  }

  async readBooks(period: Period): Promise<readonly BookCell[]> {
    return toBookCells(await this.#call('readBooks', [period], this.#options.readTimeoutMs));
  }

  readVouchers(): Promise<readonly Voucher[]> {
    return this.#call('readVouchers', [], this.#options.readTimeoutMs);
  }

  readLateClaims(period: Period): Promise<readonly LateClaim[]> {
    return this.#call('readLateClaims', [period], this.#options.readTimeoutMs);
  }

  addVoucher(voucher: Voucher, effect: CloseEffect | null): Promise<'added' | 'stale'> {
    return this.#call('addVoucher', [voucher, effect], this.#options.readTimeoutMs);
  }

  readRecords(query: RecordQuery): Promise<{ records: readonly SettledRecordJson[]; next: string | null }> {
    return this.#call('readRecords', [query], this.#options.readTimeoutMs);
  }

  readHeads(): Promise<LedgerHeads> {
    return this.#call('readHeads', [], this.#options.readTimeoutMs);
  }

  listEntries(day: number): Promise<readonly EntryName[]> {
    return this.#call('listEntries', [day], this.#options.readTimeoutMs);
  }

  readEntries(day: number, names: readonly EntryName[]): Promise<readonly (LedgerEntry | null)[]> {
    return this.#call('readEntries', [day, names], this.#options.readTimeoutMs);
  }

  readFreezeHour(hour: number): Promise<FreezeHour | null> {
    return this.#call('readFreezeHour', [hour], this.#options.readTimeoutMs);
  }

  readUnclaimed(journal: string, afterK: number): Promise<readonly ShareEntry[]> {
    return this.#call('readUnclaimed', [journal, afterK], this.#options.readTimeoutMs);
  }

  acquireLeases(request: LeaseRequest & { readonly ttlMs: number }): Promise<readonly string[]> {
    return this.#call('acquireLeases', [request]);
  }

  releaseLeases(request: LeaseRequest): Promise<void> {
    return this.#call('releaseLeases', [request]);
  }

  /** Which days stand in the archive. */
  archiveMarks(): ArchiveMarks {
    const limitMs = this.#options.readTimeoutMs;
    return {
      readExported: () => this.#call('readExported', [], limitMs),
      beginExport: (day) => this.#call('beginExport', [day], limitMs),
      finishExport: (day, hash) => this.#call('finishExport', [day, hash], limitMs),
      dropDay: (day) => this.#call('dropDay', [day], limitMs),
    };
  }

  /** The writing side of a rebuild. */
  restorer(): StoreRestorer {
    const limitMs = this.#options.readTimeoutMs;
    return {
      beginRestore: () => this.#call('beginRestore', [], limitMs),
      restoreCells: (cells) => this.#call('restoreCells', [cells], limitMs),
      restoreBooks: (books) => this.#call('restoreBooks', [books], limitMs),
      restoreRecords: (day, part, records) => this.#call('restoreRecords', [day, part, records], limitMs),
      restoreClaims: (claims) => this.#call('restoreClaims', [claims], limitMs),
      restoreFreezes: (freezes) => this.#call('restoreFreezes', [freezes], limitMs),
      finishRestore: (state) => this.#call('finishRestore', [state], limitMs),
    };
  }

  /** Safe to repeat; afterwards the process can exit and every call is refused until `open`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const worker = this.#worker;
    if (worker === null) return;
    try {
      await limitTime(this.#post('close', [], worker), this.#options.timeoutMs, 'close');
    } finally {
      this.#worker = null;
      await worker.terminate();
      this.#refuseWaiting('the SQLite store was closed');
    }
  }

  #call<T>(name: CallName, args: readonly unknown[], limitMs = this.#options.timeoutMs): Promise<T> {
    return limitTime(this.#ask<T>(name, args), limitMs, name);
  }

  /** Without a time limit. */
  #ask<T>(name: CallName, args: readonly unknown[]): Promise<T> {
    if (this.#isClosed) return Promise.reject(new StoreUnavailableError('the SQLite store is closed'));
    this.#worker ??= this.#startWorker();
    return this.#post(name, args, this.#worker) as Promise<T>;
  }

  #post(name: CallName, args: readonly unknown[], worker: Worker): Promise<unknown> {
    if (this.#waiting.size >= CALLS_WAITING_MAX) {
      return Promise.reject(new StoreUnavailableError('too many calls wait for SQLite'));
    }
    this.#lastId += 1;
    const request: WorkerRequest = { id: this.#lastId, name, args, nowMs: this.#options.now?.() ?? null };
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(request.id, { resolve, reject });
    // Referenced while a call waits, so that a command ends with its answer, not before.
    worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
    worker.postMessage(request);
    return promise;
  }

  #startWorker(): Worker {
    const { path, retention } = this.#options;
    // The sibling has this file's extension: .ts from source, .js once compiled.
    const file = new URL(`./sqlite-worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url);
    const worker = new Worker(file, { workerData: { path, retention } satisfies WorkerSettings });
    worker.unref();
    worker.on('message', (response: WorkerResponse) => this.#settle(response, worker));
    worker.on('error', (err) => this.#lose(worker, String(err)));
    worker.on('exit', (code) => this.#lose(worker, `exit code ${code}`));
    return worker;
  }

  #settle(response: WorkerResponse, worker: Worker): void {
    const call = this.#waiting.get(response.id);
    this.#waiting.delete(response.id);
    if (this.#waiting.size === 0) worker.unref();
    if (response.ok) call?.resolve(response.value);
    else if (response.kind === 'schema') call?.reject(new StoreSchemaError(response.message));
    else if (response.kind === 'range') call?.reject(new RangeError(response.message));
    else call?.reject(new StoreUnavailableError(response.message));
  }

  /** The thread died: its calls fail, the next call starts another. */
  #lose(worker: Worker, reason: string): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    this.#options.log.error({ reason }, 'the SQLite worker thread ended');
    this.#refuseWaiting('the SQLite worker thread ended');
  }

  #refuseWaiting(reason: string): void {
    for (const call of this.#waiting.values()) call.reject(new StoreUnavailableError(reason));
    this.#waiting.clear();
  }
}
