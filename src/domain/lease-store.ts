// The port by which gateway processes agree who does what only one of them may do, such as draining an engine's statistics.
// Not here: what is done under a lease (telemetry).

/** Leases of one holder. */
export interface LeaseRequest {
  /** Unique per process: of two holders only one ever has a name. */
  readonly holder: string;
  /** Each 1 … 512 characters. */
  readonly names: readonly string[];
}

/** Implemented by both stores. All calls reject with StoreUnavailableError after the store's hard time limit. */
export interface LeaseStore {
  /**
   * Takes each name that is free, expired or already the holder's, for `ttlMs` of the store's clock from now; returns those the holder has now,
   * in the order asked. Safe to repeat: holding on is asking again. A holder that got no answer must take its leases for lost `ttlMs` after
   * it asked last.
   */
  acquireLeases(request: LeaseRequest & { readonly ttlMs: number }): Promise<readonly string[]>;
  /** Gives up those that the holder has; the names of others stay theirs. Safe to repeat. */
  releaseLeases(request: LeaseRequest): Promise<void>;
}
