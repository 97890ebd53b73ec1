// Follows one journal's entries in order and recomputes each: link, records, lines, increments, hash. Not here: reading them (verify-ledger.ts).
import { hashMessage } from '#accounting/message-log.ts';
import type { EntryLink, EntryName, LedgerEntry } from '#domain/ledger.ts';
import type { Claim, SettledRecordJson } from '#domain/settlement.ts';
import { hourOf } from '#domain/window.ts';
import { type Breakage, createBreakage } from './breakage.ts';
import {
  addToCell,
  type CellSums,
  findDifference,
  nameCell,
  parseMetrics,
  RECORD_METRICS,
  sumRecords,
} from './cell-sums.ts';
import { compareLines, RecordLines } from './record-lines.ts';

/** What is right about an entry even where a part of it is broken. */
export interface AuditedEntry {
  readonly claim: Claim | null;
  readonly records: readonly SettledRecordJson[];
  /** Null: it adds up. */
  readonly breakage: Breakage | null;
}

/** State of one journal between two entries: the last link and the lines that wait for their record. */
export class JournalAudit {
  readonly #journal: string;
  /** Entries of earlier days have left the store with their retention. */
  readonly #oldestDay: number;
  readonly #lines = new RecordLines();
  #last: EntryLink | null = null;
  #isFirst = true;
  /** Attempts that began up to here may have lines in entries that are not read. */
  #blindThrough = Number.NEGATIVE_INFINITY;

  constructor(journal: string, oldestDay: number) {
    this.#journal = journal;
    this.#oldestDay = oldestDay;
  }

  /** Last entry taken; null before the first. */
  get last(): EntryLink | null {
    return this.#last;
  }

  /** Takes the next entry by its name; `entry` null: it cannot be read. */
  take(name: EntryName, entry: LedgerEntry | null): AuditedEntry {
    const id = `${name.journal}.${name.seq}`;
    if (entry === null) {
      this.#last = { day: 0, seq: name.seq, hash: '' };
      const what = { expected: 'an entry', found: 'one that cannot be read' };
      return { claim: null, records: [], breakage: createBreakage('entry', { id, hour: null }, what) };
    }
    const { message } = entry;
    const hour = hourOf(message.sealedThrough);
    const link = this.#checkLink(entry, { id, hour });
    if (this.#isFirst && entry.previous !== null) this.#blindThrough = message.sealedThrough;
    this.#isFirst = false;
    const day = Math.floor(message.sealedThrough / 86_400) * 86_400;
    this.#last = { day, seq: name.seq, hash: message.hash };
    if (message.journal !== name.journal || message.seq !== name.seq) {
      const what = { expected: id, found: `${message.journal}.${message.seq}` };
      return { claim: null, records: [], breakage: createBreakage('entry', { id, hour }, what) };
    }
    const claim = message.claim;
    if (claim === null) {
      const what = { expected: 'a claim', found: 'none' };
      return { claim: null, records: [], breakage: createBreakage('entry', { id, hour }, what) };
    }
    const records = entry.records.flatMap(({ record }) => (record === null ? [] : [record]));
    try {
      const parts = this.#checkParts(entry, claim, { id, hour, records });
      return { claim, records, breakage: link ?? parts };
    } catch (err) {
      if (!(err instanceof SyntaxError)) throw err;
      const what = { expected: 'integers', found: err.message };
      return { claim, records, breakage: createBreakage('entry', { id, hour }, what) };
    }
  }

  /** Where the store says the journal stands, after everything up to there was taken. */
  checkHead(head: EntryLink): Breakage | null {
    if (head.seq === this.#last?.seq && head.hash === this.#last.hash) return null;
    const id = `${this.#journal}.${head.seq}`;
    const found = this.#last?.seq === head.seq ? this.#last.hash : 'missing';
    return createBreakage('entry', { id, hour: hourOf(head.day) }, { expected: head.hash, found });
  }

  #checkLink({ previous }: LedgerEntry, where: { id: string; hour: number }): Breakage | null {
    const last = this.#last;
    // An unreadable entry before was told already, and its hash is not known.
    if (last !== null && last.hash === '') return null;
    if (previous?.seq === last?.seq && previous?.hash === last?.hash) return null;
    if (last === null && previous !== null && previous.day < this.#oldestDay) return null;
    if (previous !== null && previous.seq > (last?.seq ?? 0)) {
      const missing = { id: `${this.#journal}.${previous.seq}`, hour: where.hour };
      return createBreakage('entry', missing, { expected: previous.hash, found: 'missing' });
    }
    const what = { expected: `after ${last?.seq ?? 'none'}`, found: `after ${previous?.seq ?? 'none'}` };
    return createBreakage('entry', where, what);
  }

  #checkParts(
    entry: LedgerEntry,
    claim: Claim,
    { id, hour, records }: { id: string; hour: number; records: readonly SettledRecordJson[] },
  ): Breakage | null {
    const changed = this.#checkRecords(entry, { id, hour });
    const lines = this.#checkLines(claim, records, { id, hour });
    if (changed !== null) return changed;
    if (lines !== null) return lines;
    if (records.length < entry.records.length) return null;
    const increments = checkIncrements(claim, records, id);
    if (increments !== null) return increments;
    const hash = hashMessage({ ...entry.message, claim: { ...claim, records } });
    if (hash === entry.message.hash) return null;
    return createBreakage('entry', { id, hour }, { expected: entry.message.hash, found: hash });
  }

  #checkRecords(entry: LedgerEntry, { id, hour }: { id: string; hour: number }): Breakage | null {
    for (const [index, { record, digest, digestNow, batchDay }] of entry.records.entries()) {
      if (record === null) {
        if (batchDay < this.#oldestDay) continue;
        return createBreakage('record', { id: `${id}#${index}`, hour }, { expected: digest, found: 'missing' });
      }
      if (digest !== digestNow) {
        const where = { id: record.recordId, hour: hourOf(Math.floor(record.endedAtMs / 1000)) };
        return createBreakage('record', where, { expected: digest, found: digestNow ?? 'missing' });
      }
    }
    return null;
  }

  /** Σ lines = Σ of the claim, and each record's charges = Σ of its lines here and in the claims before. */
  #checkLines(
    claim: Claim,
    records: readonly SettledRecordJson[],
    where: { id: string; hour: number },
  ): Breakage | null {
    let sum = 0n;
    for (const line of claim.lines) {
      this.#lines.add(line);
      sum += BigInt(line.costNanoUsd);
    }
    let first: Breakage | null = null;
    for (const record of records) {
      const lines = this.#lines.take(record.recordId);
      if (record.startedAtMs < (this.#blindThrough + 1) * 1000) continue;
      first ??= compareLines(record, lines);
    }
    if (first !== null || sum.toString() === claim.totalNanoUsd) return first;
    const what = { expected: `total ${claim.totalNanoUsd} nanodollars`, found: `lines of ${sum}` };
    return createBreakage('line', where, what);
  }
}

/** Per hour the increments' money is that of the lines; counts, tokens and waste are those of the records, cell by cell. */
function checkIncrements(claim: Claim, records: readonly SettledRecordJson[], id: string): Breakage | null {
  const found: CellSums = new Map();
  const money: CellSums = new Map();
  const lines: CellSums = new Map();
  for (const increment of claim.increments) {
    const metrics = parseMetrics(increment);
    addToCell(found, `${increment.hour} ${nameCell(increment)}`, metrics);
    addToCell(money, String(increment.hour), metrics);
  }
  for (const { hour, phase, costNanoUsd, gpuMicros } of claim.lines) {
    const cost = BigInt(costNanoUsd);
    const values = { costNanoUsd: cost, [`${phase}NanoUsd`]: cost, gpuMicros: BigInt(gpuMicros) };
    addToCell(lines, String(hour), values);
  }
  const wrong =
    findDifference(lines, money, ['costNanoUsd', 'prefillNanoUsd', 'decodeNanoUsd', 'otherNanoUsd', 'gpuMicros']) ??
    findDifference(sumRecords(records), found, RECORD_METRICS);
  if (wrong === null) return null;
  const [hour = '', ...cell] = wrong.cell.split(' ');
  return createBreakage(
    'increment',
    { id: [id, ...cell].join(' '), hour: Number(hour) },
    { expected: `${wrong.metric} ${wrong.expected}`, found: `${wrong.metric} ${wrong.found}` },
  );
}
