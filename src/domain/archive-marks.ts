// The port by which a store knows which days stand in the archive: only those may leave it. Not here: writing the archive (ledger).

/** Mark of a day that a rebuild brought back from the archive: it is in there, but its entries are not in the store any more. */
export const RESTORED = 'restored';

/** Days by their first epoch second. Rejects with StoreUnavailableError. */
export interface ArchiveMarks {
  /** Hash of the manifest of each day whose archive is complete. A record or entry that comes later takes its day out again. */
  readExported(): Promise<ReadonlyMap<number, string>>;
  /** To be called before the day is read: what comes from now on is noticed. */
  beginExport(day: number): Promise<void>;
  /** Marks the day as exported; false where something came since `beginExport`, which must then be exported again. */
  finishExport(day: number, ledgerHash: string): Promise<boolean>;
  /** Deletes records and entries of an exported day, by names and never by scan; false: call again, there is more. Other days stay as they are. */
  dropDay(day: number): Promise<boolean>;
}
