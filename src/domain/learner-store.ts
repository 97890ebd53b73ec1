// The port under which what was learned of engines outlives processes. Not here: what stands in it (accounting/learned-state.ts).

/** One document, changed by compare-and-set. */
export interface LearnedDocument {
  /** From 0 (nothing stored). */
  readonly version: number;
  /** JSON; empty where nothing is stored. */
  readonly text: string;
}

/** Both calls reject with StoreUnavailableError like SettlementStore. */
export interface LearnerStore {
  readLearned(): Promise<LearnedDocument>;
  /** Replaces the document when its version is still `expectedVersion`; it becomes expectedVersion + 1. At most 1 MiB. */
  putLearned(text: string, expectedVersion: number): Promise<'stored' | 'stale'>;
}
