// An applied claim as a store keeps it: the message as it was sent, deflated, its records left to their batches. Not here: where it is kept.
import { inflateRawSync } from 'node:zlib';
import type { EntryLink, KeptRecord, LedgerEntry } from '#domain/ledger.ts';
import type { MessageText } from '#domain/message-text.ts';
import type { Claim, SettledRecordJson, SyncMessage } from '#domain/settlement.ts';
import { deflateInTurns, deflateQuickly } from './deflate-text.ts';
import { digestRecord, type PackedRecords, unpackRecords } from './record-batches.ts';
import { cellStart } from './rollup-cells.ts';

export interface BatchPlace {
  /** First epoch second of the UTC day of its last ending. */
  readonly day: number;
  readonly firstEndedMs: number;
}

export interface PackedEntry {
  /** See EntryLink.day. */
  readonly day: number;
  readonly body: Buffer;
}

/** What an entry is made of besides the packed records. */
export interface EntrySource extends Pick<SyncMessage, 'sealedThrough'>, Pick<MessageText, 'shell'> {}

/** Places that are made into JSON in one piece. */
const PLACES_AT_ONCE = 1024;

interface EntryBody {
  readonly message: SyncMessage;
  /** By the number of the part, as `packRecords` divides them. */
  readonly batches: readonly BatchPlace[];
  /** In the order of the message: number of the part, digest. */
  readonly records: readonly (readonly [part: number, digest: string])[];
  /** See LedgerEntry; absent for 0. */
  readonly closedThrough?: number;
}

/** False for a claim that moved no cell, no money and no record: it leaves no entry. */
export function leavesEntry(claim: Omit<Claim, 'records'>, { places }: Pick<PackedRecords, 'places'>): boolean {
  return claim.lines.length > 0 || claim.increments.length > 0 || places.length > 0;
}

/**
 * The entry of a message with a claim. The message's text can be restored from it and the batches byte by byte, so its hash can be recomputed.
 * `shell`: see MessageText.
 */
export function packEntry(message: EntrySource, packed: PackedRecords, closedThrough: number): PackedEntry {
  return { day: dayOfEntry(message), body: deflateQuickly(writeBody(message, packed, closedThrough)) };
}

/** The same, while the event loop turns. */
export async function packEntryInTurns(
  message: EntrySource,
  packed: PackedRecords,
  closedThrough: number,
): Promise<PackedEntry> {
  return { day: dayOfEntry(message), body: await deflateInTurns(writeBody(message, packed, closedThrough)) };
}

function dayOfEntry({ sealedThrough }: EntrySource): number {
  return cellStart('day', sealedThrough);
}

/** JSON of an EntryBody, in parts: the message stands there as it was written. */
function* writeBody(
  { shell }: EntrySource,
  { batches, places }: PackedRecords,
  closedThrough: number,
): Generator<string, void, undefined> {
  yield '{"message":';
  yield* shell;
  const batchPlaces: readonly BatchPlace[] = batches.map(({ firstEndedMs, lastEndedMs }) => ({
    day: dayOfMs(lastEndedMs),
    firstEndedMs,
  }));
  yield `,"batches":${JSON.stringify(batchPlaces)},"records":[`;
  for (let from = 0; from < places.length; from += PLACES_AT_ONCE) {
    const some = places.slice(from, from + PLACES_AT_ONCE).map(({ part, digest }) => [part, digest]);
    yield `${from === 0 ? '' : ','}${JSON.stringify(some).slice(1, -1)}`;
  }
  yield closedThrough === 0 ? ']}' : `],"closedThrough":${closedThrough}}`;
}

function dayOfMs(epochMs: number): number {
  return cellStart('day', Math.floor(epochMs / 1000));
}

/** Where the batches of an entry are, so that the store can read them. Throws on a damaged body. */
export function readEntryBody(body: Uint8Array): EntryBody {
  const parsed = JSON.parse(inflateRawSync(body).toString()) as EntryBody;
  if (parsed.message.claim === null || !Array.isArray(parsed.batches) || !Array.isArray(parsed.records)) {
    throw new SyntaxError('the store holds a damaged ledger entry');
  }
  return parsed;
}

/** Puts an entry together; `bodies` by the number of the part, undefined where a batch is not there. */
export function restoreEntry(
  { message, batches, records, closedThrough = 0 }: EntryBody,
  previous: EntryLink | null,
  bodies: readonly (Uint8Array | undefined)[],
): LedgerEntry {
  const queues = bodies.map(tryUnpack);
  const taken = bodies.map(() => 0);
  return {
    message,
    previous,
    closedThrough,
    records: records.map(([part, digest]): KeptRecord => {
      const at = taken[part] ?? 0;
      taken[part] = at + 1;
      const record = queues[part]?.[at] ?? null;
      const digestNow = record === null ? null : digestRecord(JSON.stringify(record));
      return { record, digest, digestNow, batchDay: batches[part]?.day ?? 0 };
    }),
  };
}

function tryUnpack(body: Uint8Array | undefined): readonly SettledRecordJson[] {
  if (body === undefined) return [];
  try {
    return unpackRecords(body);
  } catch {
    // A batch that cannot be read is as good as missing, which is what its reader is told.
    return [];
  }
}

/** `day|seq|hash`, or empty for none. */
export function formatLink(link: EntryLink | null): string {
  return link === null ? '' : `${link.day}|${link.seq}|${link.hash}`;
}

/** Inverse of `formatLink`; anything else is null. */
export function parseLink(text: string): EntryLink | null {
  const match = /^(\d+)\|(\d+)\|(.*)$/s.exec(text);
  return match === null ? null : { day: Number(match[1]), seq: Number(match[2]), hash: match[3] ?? '' };
}
