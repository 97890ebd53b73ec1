// Messages with claims of generated records: endings in several batches, names that hold anything, numbers of every size.
import * as fc from 'fast-check';
import { hashMessage } from '#accounting/message-log.ts';
import type { Claim, SettledRecordJson, SyncMessage } from '#domain/settlement.ts';
import { recordAt } from '#test/contract/settlement-messages.ts';

const BASE_MS = 1_800_000_000_000;

/** Half of a character, a character in two halves, what JSON escapes, what sorts before other keys, and the rest. */
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\ud800', '😀', '"\\\n\u2028', '"records":[]', '],"records":[', '__proto__', '0'),
);

const record: fc.Arbitrary<SettledRecordJson> = fc
  .record({
    endedAtMs: fc.integer({ min: 0, max: 3_000_000 }),
    user: fc.oneof(fc.constant(null), text),
    tags: fc.dictionary(text, text, { maxKeys: 2, noNullPrototype: true }),
    timeToFirstTokenMs: fc.oneof(fc.constant(null), fc.double({ min: 0, noNaN: true, noDefaultInfinity: true })),
  })
  .map(({ endedAtMs, ...fields }) => recordAt(BASE_MS + endedAtMs, fields));

/** Also longer than one of a message's texts. */
export const recordLists: fc.Arbitrary<SettledRecordJson[]> = fc.oneof(
  fc.array(record, { maxLength: 12 }),
  fc.array(record, { minLength: 60, maxLength: 140 }),
);

export function claimOfRecords(records: readonly SettledRecordJson[]): Claim {
  const lines = records.slice(0, 3).map(({ recordId }) => {
    return { recordId, hour: 3600, phase: 'decode', costNanoUsd: '1', gpuMicros: '2' } as const;
  });
  return { k0: 1, k: 2, hash: 'h', totalNanoUsd: '0', lines, increments: [], pools: [], records };
}

export function messageOf(claim: Claim | null): SyncMessage {
  const body = {
    journal: 'j',
    epoch: 'e',
    seq: 3,
    prevHash: 'p',
    sealedThrough: BASE_MS / 1000,
    publications: [],
    healthChanges: [],
    blind: [],
    claim,
    leave: false,
  };
  return { ...body, incarnation: 4, hash: hashMessage(body) };
}
