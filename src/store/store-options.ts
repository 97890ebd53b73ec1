// What both stores are told when they are opened, and the number of the schema they speak. No behaviour.
import type { Log } from '#domain/log.ts';

/** Number of the layout both stores write. Older is migrated at open, newer refused with StoreSchemaError. */
export const STORE_SCHEMA = 6;

/** How long rows stay; hour cells always stay HOUR_CELLS_KEPT_MS. */
export interface StoreRetention {
  readonly recordsMs: number;
  /** Day and month cells and the capacity books. */
  readonly rollupsMs: number;
  /** Folder of the archive; where there is one, records and entries leave by whole days after their export, never by time. */
  readonly archive?: string;
}

/** A day that could not be exported waits for so long beyond its retention before nobody looks for it. */
export const LATE_EXPORT_DAYS = 62;

/** Whether days leave the store only after they were exported. */
export function leavesAfterExport({ archive }: StoreRetention): boolean {
  return archive !== undefined && archive !== '';
}

/** PEM texts; `''` leaves one out. `serverName` is what the server's certificate must name, where that is not the host of the URL. */
export interface StoreTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly serverName: string;
}

export interface StoreOptions {
  /** Starts every Redis key; a SQLite file is one store and ignores it. */
  readonly prefix: string;
  /** Hard limit of one settlement call, milliseconds. */
  readonly timeoutMs: number;
  /** Hard limit of one reporting call, which may read a year of cells. */
  readonly readTimeoutMs: number;
  /** Hard limit of opening the store; default: as long as a first connection, or a migration, may take. */
  readonly openTimeoutMs?: number | undefined;
  readonly retention: StoreRetention;
  readonly log: Log;
}

/** 35 days and one of margin (books.ts: hour cells are kept 35 days); those of month edges stay as long as day cells. */
export const HOUR_CELLS_KEPT_MS = 36 * 86_400_000;

/** A silent member whose shares are all claimed is forgotten after this much aliveClock, so that short-lived journals do not pile up. */
export const MEMBER_FORGOTTEN_MS = 35 * 86_400_000;

/** Entries of SyncReply.shares at most (domain/settlement.ts). */
export const SHARES_PER_REPLY = 64;

/** Windows of the board in FreezeInput at most (domain/settlement.ts): more than a freeze takes, and no more after a day of outage. */
export const BOARD_WINDOWS_PER_READ = 4;

/** Message numbers per journal whose hash is remembered, to tell a replay from a second author of the same number. */
export const HASHES_PER_JOURNAL = 256;

/** Freezes whose chain hash is kept at most; an older claim is skipped and priced again. */
export const CHAIN_KEPT = 200_000;

/** The digest of a freeze is kept this long after its hour, or as long as records are if that is less: about 3 MB a day in Redis. */
export const FREEZE_DIGESTS_KEPT_MS = 8 * 86_400_000;

/** Windows later than the store's now + this are refused (settlement.md, Terms). */
export const FUTURE_SECONDS = 2;

/** One call adds at most this to the aliveClock (settlement.md, sync). */
export const ALIVE_STEP_MS = 2000;
