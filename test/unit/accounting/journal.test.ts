// The journal's file discipline: checked lines, one writer, nothing needed is deleted.
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type EncodedLine, encodePieces, type JournalEntry } from '#accounting/journal-entry.ts';
import { type Journal, type JournalOptions, openJournal } from '#accounting/journal.ts';
import { JournalLockedError } from '#accounting/journal-lock.ts';
import { segmentPath } from '#accounting/journal-segments.ts';
import { runWhole } from '#accounting/sliced-work.ts';
import { createWindowClock } from '#accounting/window-clock.ts';
import { silentLog } from '#domain/log.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

function setUp() {
  const machine = createVirtualClock();
  const dir = mkdtempSync(join(tmpdir(), 'inferometer-journal-'));
  const open = (options: Partial<JournalOptions> = {}) =>
    openJournal({ dir, fsync: 'off', clock: createWindowClock(machine), log: silentLog, ...options });
  return { machine, dir, open };
}

function ack(seq: number): JournalEntry {
  return { t: 'ack', atMs: 1, seq, claimApplied: null };
}

function readSeqs(journal: Journal): number[] {
  return [...journal.entries()].flatMap(({ entry }) => (entry.t === 'ack' ? [entry.seq] : []));
}

/** Lines 1 to 3 in a segment that is closed and still needed: with a limit of 300 bytes there is no room for another. */
function fill(journal: Journal): Journal {
  const head = { journal: journal.identity.journal, seq: 0, hash: '', sealedThrough: null, epoch: null };
  for (const seq of [1, 2, 3]) journal.append(ack(seq));
  journal.rotateWhenDue(() => head);
  journal.releaseBefore(1);
  return journal;
}

/** A line in pieces of so many bytes. */
function inPieces(entry: JournalEntry, bytes: number): EncodedLine {
  const json = Buffer.from(JSON.stringify(entry));
  const starts = Array.from({ length: Math.ceil(json.length / bytes) }, (_, index) => index * bytes);
  return runWhole(encodePieces(starts.map((start) => json.subarray(start, start + bytes))));
}

describe('journal', () => {
  it('what was appended is read again in order after death, under the same name and a higher incarnation', () => {
    const { open } = setUp();
    const first = open();
    first.append(ack(1));
    first.append(ack(2));
    first.abandon();
    const second = open();
    second.append(ack(3));
    expect(readSeqs(second)).toEqual([1, 2, 3]);
    expect(second.identity).toEqual({ journal: first.identity.journal, incarnation: first.identity.incarnation + 1 });
    second.abandon();
  });

  it('a torn last line is cut, and lines after it stand whole', () => {
    const { dir, open } = setUp();
    const first = open();
    first.append(ack(1));
    first.abandon();
    const path = segmentPath(dir, 1);
    const whole = readFileSync(path);
    appendFileSync(path, '0badc0de {"t":"ack","seq":9');
    const second = open();
    second.append(ack(2));
    expect(readFileSync(path)).toEqual(whole);
    expect(readSeqs(second)).toEqual([1, 2]);
    second.abandon();
  });

  it('a damaged line is left out, the ones around it are not', () => {
    const { dir, open } = setUp();
    const first = open();
    for (const seq of [1, 2, 3]) first.append(ack(seq));
    first.abandon();
    const path = segmentPath(dir, 1);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"seq":2', '"seq":7'));
    const second = open();
    expect(readSeqs(second)).toEqual([1, 3]);
    second.abandon();
  });

  it('a second writer of the same directory is refused with what to do, and may come when the first is gone', () => {
    const { open } = setUp();
    const first = open();
    expect(() => open()).toThrow(JournalLockedError);
    expect(() => open()).toThrow(/journal\.dir/);
    first.abandon();
    open().abandon();
  });

  it('a lock that nobody can take, as on a full disk, is told as what it is, not as a journal in use', () => {
    const { dir, open } = setUp();
    writeFileSync(join(dir, 'lock.db'), 'not what SQLite writes, and longer than its header'.repeat(100));
    expect(() => open()).toThrow(`the journal ${dir} cannot be locked: file is not a database`);
    expect(() => open()).not.toThrow(JournalLockedError);
  });

  it('once its folder was removed it says so for good, and what depends on its lines goes on', () => {
    const { dir, open } = setUp();
    const journal = open({ segmentMs: 0 });
    const head = { journal: journal.identity.journal, seq: 4, hash: 'h', sealedThrough: 9, epoch: 'e' };
    rmSync(dir, { recursive: true });
    for (const seq of [1, 2]) {
      journal.rotateWhenDue(() => head);
      expect([journal.append(ack(seq)) === null, journal.isRemoved, journal.ok]).toEqual([false, true, true]);
    }
    journal.abandon();
  });

  it('a line is read again from where it was written', () => {
    const { open } = setUp();
    const journal = open();
    journal.append(ack(1));
    const location = journal.append(ack(2));
    expect(location === null ? null : journal.read(location)).toEqual(ack(2));
    journal.abandon();
  });

  it('segments are closed by size, and deleted only when nothing needs them and 15 minutes have passed', () => {
    const { machine, dir, open } = setUp();
    const journal = open({ segmentBytes: 200 });
    const head = { journal: journal.identity.journal, seq: 4, hash: 'h', sealedThrough: 9, epoch: 'e' };
    for (const seq of [1, 2, 3, 4, 5, 6, 7, 8]) {
      journal.append(ack(seq));
      journal.rotateWhenDue(() => head);
    }
    const count = () => readdirSync(dir).filter((name) => name.endsWith('.ndjson')).length;
    const before = count();
    expect(before).toBeGreaterThan(2);
    expect(journal.releaseBefore(journal.segment)).toEqual([]);
    machine.advance(15 * 60_000);
    expect(journal.releaseBefore(2)).toEqual([1]);
    expect(count()).toBe(before - 1);
    expect([...journal.entries()][0]?.entry).toMatchObject({ t: 'head', atMs: expect.any(Number), head });
    journal.abandon();
  });

  it('what nothing needs any more is kept for its retention across restarts, and is not replayed', () => {
    const { machine, dir, open } = setUp();
    const options = { segmentBytes: 100, retentionMs: 3_600_000 };
    const fill = (journal: Journal, seqs: readonly number[]) => {
      const head = { journal: journal.identity.journal, seq: 4, hash: 'h', sealedThrough: 9, epoch: 'e' };
      for (const seq of seqs) {
        journal.append(ack(seq));
        journal.rotateWhenDue(() => head);
      }
    };
    const first = open(options);
    fill(first, [1, 2, 3, 4]);
    machine.advance(15 * 60_000);
    expect(first.releaseBefore(3)).toEqual([1, 2]);
    // The next segment's head says it, so that a restart knows.
    fill(first, [5]);
    expect(readSeqs(first)).not.toContain(1);
    first.abandon();
    const second = open(options);
    expect(readSeqs(second)).toEqual(readSeqs(second).filter((seq) => seq > 2));
    expect(readSeqs(second)).toContain(5);
    expect(readdirSync(dir)).toContain('segment-0000000001.ndjson');
    machine.advance(3_600_000);
    second.releaseBefore(1);
    expect(readdirSync(dir)).not.toContain('segment-0000000001.ndjson');
    second.abandon();
  });

  it('at its limit the journal gives up what is only retained, and beyond it refuses lines until the store took some', () => {
    const { machine, dir, open } = setUp();
    const journal = open({ segmentBytes: 100, retentionMs: 3_600_000, maxBytes: 2000 });
    const head = { journal: journal.identity.journal, seq: 4, hash: 'h', sealedThrough: 9, epoch: 'e' };
    for (let seq = 1; seq <= 6; seq += 1) {
      journal.append(ack(seq));
      journal.rotateWhenDue(() => head);
    }
    machine.advance(15 * 60_000);
    journal.releaseBefore(4);
    for (let seq = 7; seq <= 20; seq += 1) {
      journal.append(ack(seq));
      journal.rotateWhenDue(() => head);
    }
    journal.releaseBefore(4);
    expect(readdirSync(dir)).not.toContain('segment-0000000003.ndjson');
    expect(journal.append(ack(21))).toBeNull();
    expect(journal).toMatchObject({ ok: false, failedLines: 1 });
    journal.releaseBefore(journal.segment);
    expect(journal.append(ack(22))).not.toBeNull();
    expect(journal.ok).toBe(true);
    journal.abandon();
  });

  it('what a full disk does not take waits in memory in its order, and stands in the file once there is room', () => {
    const { dir, open } = setUp();
    const journal = fill(open({ segmentBytes: 1, maxBytes: 300, retentionMs: 0 }));
    expect(journal.append(ack(4))).toBe(null);
    expect(journal.append({ t: 'progress', atMs: 1, attempts: [] })).toBe(null);
    expect(journal.appendOrForget(inPieces(ack(99), 10))).toBe(null);
    expect(journal.appendEncoded(inPieces(ack(5), 10))).toBe(null);
    expect([journal.ok, journal.linesAtRisk]).toEqual([false, 2]);
    expect(readSeqs(journal)).toEqual([1, 2, 3, 4, 5]);
    expect(readFileSync(segmentPath(dir, 2), 'utf8')).not.toContain('"seq":4');
    journal.releaseBefore(2);
    expect(journal.append(ack(6))).not.toBe(null);
    expect([journal.ok, journal.linesAtRisk]).toEqual([true, 0]);
    journal.abandon();
    const again = open();
    expect(readSeqs(again).filter((seq) => seq > 3)).toEqual([4, 5, 6]);
    again.abandon();
  });

  it('a line in more pieces than the system takes at once is one line, and the next one follows it', () => {
    const { open } = setUp();
    const journal = fill(open());
    const entry = { ...ack(4), note: 'ü😀'.repeat(3000) };
    const location = journal.appendEncoded(inPieces(entry, 7));
    expect(journal.append(ack(5))).not.toBeNull();
    expect(location === null ? null : journal.read(location)).toEqual(entry);
    expect(readSeqs(journal)).toEqual([1, 2, 3, 4, 5]);
    journal.abandon();
    const again = open();
    expect(readSeqs(again)).toEqual([1, 2, 3, 4, 5]);
    again.abandon();
  });

  it('lines of one turn stand in the file at its end, and before any line that is appended after them', async () => {
    const { dir, open } = setUp();
    const journal = open();
    const file = segmentPath(dir, 1);
    journal.appendSoon(ack(1));
    journal.appendSoon(ack(2));
    expect(readFileSync(file, 'utf8')).toBe('');
    await nextTurn();
    expect(readFileSync(file, 'utf8').match(/"seq":\d/g)).toEqual(['"seq":1', '"seq":2']);
    journal.appendSoon(ack(3));
    expect(journal.append(ack(4))).not.toBeNull();
    journal.appendSoon(ack(5));
    journal.commit();
    expect(readSeqs(journal)).toEqual([1, 2, 3, 4, 5]);
    journal.appendSoon(ack(6));
    await journal.close();
    const again = open();
    expect(readSeqs(again)).toEqual([1, 2, 3, 4, 5, 6]);
    again.abandon();
  });

  it('lines of one turn are as many as they like and as long as they like', () => {
    const { open } = setUp();
    const journal = open();
    const lengths = [10, 20_000, 70_000, 3, 30_000, 30_000, 1];
    for (const [seq, length] of lengths.entries()) {
      journal.appendSoon({ t: 'facts', atMs: seq, epoch: 'ü'.repeat(length), book: { version: 1, pools: {} } });
    }
    const read = [...journal.entries()].map(({ entry }) => (entry.t === 'facts' ? entry.epoch.length : null));
    expect(read).toEqual(lengths);
    journal.abandon();
  });

  it('lines of one turn that a full disk does not take wait in their order with those before and after', () => {
    const { open } = setUp();
    const journal = fill(open({ segmentBytes: 1, maxBytes: 300, retentionMs: 0 }));
    expect(journal.append(ack(4))).toBe(null);
    journal.appendSoon(ack(5));
    journal.appendSoon(ack(6));
    journal.commit();
    expect(journal.append(ack(7))).toBe(null);
    expect([journal.ok, journal.linesAtRisk]).toEqual([false, 4]);
    journal.releaseBefore(2);
    journal.appendSoon(ack(8));
    expect(readSeqs(journal)).toEqual([4, 5, 6, 7, 8]);
    expect([journal.ok, journal.linesAtRisk]).toEqual([true, 0]);
    journal.abandon();
  });

  it('strict mode holds a record back until it is durable, grouped mode does not', async () => {
    const { open } = setUp();
    const strict = open({ fsync: 'strict' });
    strict.append(ack(1));
    await expect(strict.whenReleasable()).resolves.toBe(undefined);
    strict.abandon();
    const grouped = open({ fsync: 'grouped' });
    grouped.append(ack(2));
    expect(grouped.whenReleasable()).toBe(undefined);
    await grouped.close();
  });
});
