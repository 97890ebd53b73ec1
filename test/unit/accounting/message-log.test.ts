// The text of a message: fixed for ever, since journals and hashes of before must stay readable.
import * as fc from 'fast-check';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { segmentPath } from '#accounting/journal-segments.ts';
import { openJournal } from '#accounting/journal.ts';
import { hashMessage, MessageLog, type MessageDraft } from '#accounting/message-log.ts';
import { runWhole } from '#accounting/sliced-work.ts';
import { createWindowClock } from '#accounting/window-clock.ts';
import { silentLog } from '#domain/log.ts';
import { writeMessage } from '#domain/message-text.ts';
import type { Claim } from '#domain/settlement.ts';
import { recordAt } from '#test/contract/settlement-messages.ts';
import { claimOfRecords, recordLists } from '#test/support/generated-claims.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

function open() {
  const dir = mkdtempSync(join(tmpdir(), 'inferometer-message-log-'));
  writeFileSync(join(dir, 'identity.json'), JSON.stringify({ journal: 'j', incarnation: 2 }));
  const journal = openJournal({ dir, fsync: 'off', clock: createWindowClock(createVirtualClock()), log: silentLog });
  /** Bytes of the lines that hold messages, their check sums included. */
  const digestLines = () =>
    readFileSync(segmentPath(dir, 1), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"t":"message"'))
      .map((line) => createHash('sha256').update(line).digest('hex'));
  return { journal, log: new MessageLog(journal), digestLines };
}

function draftOf(claim: Claim | null): MessageDraft {
  return {
    epoch: 'e',
    sealedThrough: 5,
    publications: [],
    healthChanges: [{ pool: 'p', window: 5, healthy: true }],
    blind: [[1, 2]],
    claim: claim === null ? null : { claim, prices: new Map([['3600\np', 5n]]) },
    leave: claim === null,
    slices: [],
  };
}

/** Fixed to the last byte. */
function goldenClaim(): Claim {
  const records = Array.from({ length: 10 }, (_, n) =>
    recordAt(1_800_000_000_000 + n, { requestId: `r${n}`, recordId: `r${n}.1`, user: `ü "${n}" 😀 \ud800` }),
  );
  const line = { recordId: 'r0.1', hour: 3600, phase: 'decode', costNanoUsd: '7', gpuMicros: '1' } as const;
  return { k0: 1, k: 2, hash: 'h', totalNanoUsd: '7', lines: [line], increments: [], pools: [], records };
}

describe('message log', () => {
  test('what is hashed and journaled of a given message never changes', () => {
    const { journal, log, digestLines } = open();
    runWhole(log.append(draftOf(goldenClaim())));
    expect(log.head.hash).toBe('90fedc9efcae552f88f53b37b41ac57be2f7033868f62758445bcd5dcd8f8eb1');
    runWhole(log.append(draftOf(null)));
    expect(log.head.hash).toBe('6c3c66aa0eaa3746e40c2789a70d324fbcf580040b157894a4b0944c9e167acc');
    journal.abandon();
    expect(digestLines()).toEqual([
      'c53b37a11b244bc39eed69f53dbb281922d32efbc46d44d7d23439aba6c63f13',
      '8970e1b2657d6b3c92e3a35883cd4112f485877ccbc48aa0ba414e67008c2e06',
    ]);
  });

  test('what is journaled, hashed and told to the store is one message', () => {
    const { journal, log } = open();
    fc.assert(
      fc.property(fc.option(recordLists), (records) => {
        runWhole(log.append(draftOf(records === null ? null : claimOfRecords(records))));
        const { seq, hash } = log.head;
        const text = log.readText(seq);
        const message = log.read(seq)?.message;
        log.acknowledge(seq);
        const journaled = log.read(seq)?.message;
        if (message === undefined || journaled === undefined) throw new Error('the message is gone');
        expect(JSON.stringify(journaled)).toBe(JSON.stringify(message));
        expect(hashMessage(journaled)).toBe(hash);
        const whole = writeMessage(message);
        expect(text?.records).toEqual(whole.records);
        expect(text?.shell.join('')).toBe(whole.shell.join(''));
      }),
      { numRuns: 50 },
    );
    journal.abandon();
  });

  test('the text of a message goes with its acknowledgement', () => {
    const { journal, log } = open();
    runWhole(log.append(draftOf(goldenClaim())));
    log.acknowledge(1);
    expect(log.readText(1)).toBeNull();
    journal.abandon();
  });
});
