// Packs a claim for sync-message.lua while the event loop turns: requests must not wait for thousands of records. Not here: keys and arguments.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type MessageText, RecordTextWriter, writeShell } from '#domain/message-text.ts';
import type { Claim, SyncMessage } from '#domain/settlement.ts';
import { claimBalances, claimBalancesInTurns } from '../check-claim.ts';
import { leavesEntry, packEntry, packEntryInTurns, type PackedEntry } from '../claim-entries.ts';
import { packRecords, packRecordsInTurns, type RecordBatch } from '../record-batches.ts';

/** Records that are made into JSON between two turns, where a message comes without its text. */
const RECORDS_PER_TURN = 64;

/** A claim up to here takes less than a millisecond, and turns and threads would cost more than they give. */
const AT_ONCE_MAX = { records: 64, lines: 512 };

const AT_ONCE = { check: claimBalances, packRecords, packEntry };
const IN_TURNS = { check: claimBalancesInTurns, packRecords: packRecordsInTurns, packEntry: packEntryInTurns };

/** What stays of a claim itself. */
export interface PackedClaim {
  /** See claimBalances; false: it is skipped, and nothing of it stays. */
  readonly balances: boolean;
  readonly batches: readonly RecordBatch[];
  /** Null where it leaves none. */
  readonly entry: PackedEntry | null;
}

/** Packs what does not change, whatever is closed meanwhile; what it returns makes the rest for one `closedThrough`. */
export async function packClaim(
  message: SyncMessage,
  claim: Claim,
  text: MessageText | undefined,
): Promise<(closedThrough: number) => Promise<PackedClaim>> {
  const isSmall = claim.records.length <= AT_ONCE_MAX.records && claim.lines.length <= AT_ONCE_MAX.lines;
  const how = isSmall ? AT_ONCE : IN_TURNS;
  if (!(await how.check(claim))) return async () => ({ balances: false, batches: [], entry: null });
  const { shell, records } = text ?? (await writeInTurns(message, claim));
  const packed = await how.packRecords(records);
  const { batches } = packed;
  const { sealedThrough } = message;
  return async (closedThrough) => ({
    balances: true,
    batches,
    entry: leavesEntry(claim, packed) ? await how.packEntry({ sealedThrough, shell }, packed, closedThrough) : null,
  });
}

async function writeInTurns(message: SyncMessage, { records }: Claim): Promise<MessageText> {
  const writer = new RecordTextWriter();
  for (const [index, record] of records.entries()) {
    writer.add(record);
    if (index % RECORDS_PER_TURN === RECORDS_PER_TURN - 1) await nextTurn();
  }
  return { shell: writeShell(message), records: writer.finish() };
}
