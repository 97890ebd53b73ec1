// The worker thread that owns the SQLite connection: node:sqlite is synchronous and must not block the gateway's event loop.
import { statSync } from 'node:fs';
import { constants, getPriority, platform, setPriority } from 'node:os';
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { BookCell, Granularity, Period, RecordQuery } from '#domain/books.ts';
import type { LeaseRequest } from '#domain/lease-store.ts';
import type { EntryName } from '#domain/ledger.ts';
import type { MessageText } from '#domain/message-text.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import type { RestoredCell, RestoredClaim, RestoredFreezes, RestoredState } from '#domain/restore-store.ts';
import type { FreezeCommit, SettledRecordJson } from '#domain/settlement.ts';
import type { CloseEffect, Voucher } from '#domain/voucher.ts';
import { StoreSchemaError } from '#domain/settlement-store.ts';
import { openDatabase, readSchema } from './open-database.ts';
import { readBooks, readRecords, readRollups, readStatus } from './sqlite-books.ts';
import { acquireLeases, releaseLeases } from './sqlite-leases.ts';
import { listEntries, readEntries, readFreezeHour, readHeads, readUnclaimed } from './sqlite-ledger-reader.ts';
import { putLearned, readLearned } from './sqlite-learner.ts';
import { readStore } from './sqlite-members.ts';
import { SqliteRestore } from './sqlite-restore.ts';
import { SqliteSettlement } from './sqlite-settlement.ts';
import { beginExport, dropDay, finishExport, readExported } from './sqlite-archive-marks.ts';
import { addVoucher, readLateClaims, readVouchers } from './sqlite-vouchers.ts';
import { Statements } from './statements.ts';
import type { CallName, WorkerRequest, WorkerResponse, WorkerSettings } from './worker-protocol.ts';

const settings = workerData as WorkerSettings;

interface OpenStore {
  /** Of the file; undefined where there is none. */
  readonly inode: number | undefined;
  readonly db: DatabaseSync;
  readonly statements: Statements;
  readonly settlement: SqliteSettlement;
  readonly restore: SqliteRestore;
}

// Behind the requests: on a full CPU this thread took it from the event loop for milliseconds at a time. On Linux a priority is the thread's own,
// elsewhere the whole process's.
if (platform() === 'linux') stepBehind(constants.priority.PRIORITY_BELOW_NORMAL);

/** A courtesy: one that stands further behind stays there, and where the system forbids it all goes on as it is. */
function stepBehind(priority: number): void {
  try {
    if (getPriority(0) < priority) setPriority(0, priority);
  } catch {
    // Sandboxes may forbid the call.
  }
}

let opened: OpenStore | null = null;

/** Opened by the first call, whichever it is, so that a worker started anew after a crash needs no ceremony. */
function useStore(): OpenStore {
  if (opened !== null) {
    checkFile(opened);
    return opened;
  }
  const db = openDatabase(settings.path);
  const statements = new Statements(db);
  opened = {
    inode: readInode(),
    db,
    statements,
    settlement: new SqliteSettlement(statements, settings.retention),
    restore: new SqliteRestore(statements),
  };
  return opened;
}

/** What is written to a file that was removed goes with this process, though the system takes it: it must stay in the journal. */
function checkFile({ inode }: OpenStore): void {
  if (readInode() === inode) return;
  throw new Error(
    `${settings.path} was removed or replaced: put the file back, or restart the gateway and run inferometer ledger rebuild`,
  );
}

function readInode(): number | undefined {
  return statSync(settings.path, { throwIfNoEntry: false })?.ino;
}

type Call = (nowMs: number, args: readonly unknown[]) => unknown;

const CALLS: Record<CallName, Call> = {
  open: (nowMs) => {
    const { db, statements } = useStore();
    return { epoch: readStore(statements, nowMs).epoch, schema: readSchema(db) };
  },
  readEpoch: (nowMs) => {
    const { epoch } = readStore(useStore().statements, nowMs);
    return epoch === '' ? null : epoch;
  },
  now: (nowMs) => nowMs,
  join: (nowMs, [author]) => useStore().settlement.join(author as { journal: string; incarnation: number }, nowMs),
  sync: (nowMs, [text]) => useStore().settlement.sync(text as MessageText, nowMs),
  readFreezeInput: (nowMs) => useStore().settlement.readFreezeInput(nowMs),
  commitFreeze: (nowMs, [commit]) => useStore().settlement.commitFreeze(commit as FreezeCommit, nowMs),
  putFacts: (_, [pools, version]) => useStore().settlement.putFacts(pools as FactBook['pools'], version as number),
  readLearned: () => readLearned(useStore().statements),
  putLearned: (_, [text, version]) => putLearned(useStore().statements, text as string, version as number),
  readStatus: (nowMs) => readStatus(useStore().statements, nowMs),
  readFacts: () => useStore().settlement.readFacts(),
  readRollups: (_, [period, granularity]) =>
    readRollups(useStore().statements, period as Period, granularity as Granularity),
  readBooks: (_, [period]) => readBooks(useStore().statements, period as Period),
  readRecords: (_, [query]) => readRecords(useStore().statements, query as RecordQuery),
  readHeads: (nowMs) => readHeads(useStore().statements, nowMs),
  listEntries: (_, [day]) => listEntries(useStore().statements, day as number),
  readEntries: (_, [day, names]) => readEntries(useStore().statements, day as number, names as readonly EntryName[]),
  readFreezeHour: (_, [hour]) => readFreezeHour(useStore().statements, hour as number),
  readUnclaimed: (_, [journal, afterK]) => readUnclaimed(useStore().statements, journal as string, afterK as number),
  acquireLeases: (nowMs, [request]) =>
    acquireLeases(useStore().statements, request as LeaseRequest & { ttlMs: number }, nowMs),
  releaseLeases: (_, [request]) => releaseLeases(useStore().statements, request as LeaseRequest),
  readExported: () => readExported(useStore().statements),
  beginExport: (_, [day]) => beginExport(useStore().statements, day as number),
  finishExport: (_, [day, hash]) => finishExport(useStore().statements, day as number, hash as string),
  dropDay: (_, [day]) => dropDay(useStore().statements, day as number),
  readVouchers: () => readVouchers(useStore().statements),
  readLateClaims: (_, [period]) => readLateClaims(useStore().statements, period as Period),
  addVoucher: (_, [voucher, effect]) =>
    addVoucher(useStore().statements, voucher as Voucher, effect as CloseEffect | null),
  beginRestore: () => useStore().restore.beginRestore(),
  restoreCells: (_, [cells]) => useStore().restore.restoreCells(cells as readonly RestoredCell[]),
  restoreBooks: (_, [books]) => useStore().restore.restoreBooks(books as readonly BookCell[]),
  restoreRecords: (_, [day, part, records]) =>
    useStore().restore.restoreRecords(day as number, part as number, records as readonly SettledRecordJson[]),
  restoreClaims: (_, [claims]) => useStore().restore.restoreClaims(claims as readonly RestoredClaim[]),
  restoreFreezes: (_, [freezes]) => useStore().restore.restoreFreezes(freezes as RestoredFreezes),
  finishRestore: (_, [state]) => useStore().restore.finishRestore(state as RestoredState),
  close: () => {
    opened?.db.close();
    opened = null;
  },
};

async function answer({ id, name, args, nowMs }: WorkerRequest): Promise<WorkerResponse> {
  try {
    return { id, ok: true, value: await CALLS[name](nowMs ?? Date.now(), args) };
  } catch (err) {
    const message = err instanceof Error ? err.message : String(err);
    if (err instanceof StoreSchemaError) return { id, ok: false, kind: 'schema', message };
    if (err instanceof RangeError && name === 'readRecords') return { id, ok: false, kind: 'range', message };
    return { id, ok: false, kind: 'unavailable', message: `SQLite refused ${name}: ${message}` };
  }
}

// One call at a time: every one but a page of records is synchronous, and that one only reads.
parentPort?.on('message', (request: WorkerRequest) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
  void answer(request).then((response) => parentPort?.postMessage(response));
});
