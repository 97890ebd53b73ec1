// Who sent a request, as resolved from a key or a trusted header.

/** Resolved identity of a request. `anonymous` requests carry the team named in `tenancy.anonymous`. */
export interface Caller {
  readonly team: string;
  /** Null where the key names no project. */
  readonly project: string | null;
  /** `k_…` public id of the key, never the secret; null in header mode and for anonymous requests. */
  readonly keyId: string | null;
  /** Globs over sent, canonical and deployment names, ignoring case; null allows every model. */
  readonly models: readonly string[] | null;
  readonly scopes: readonly string[];
  /** True where a limit or budget needs a store round trip at admission. */
  readonly limited: boolean;
}
