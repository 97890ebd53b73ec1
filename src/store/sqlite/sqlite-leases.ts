// Leases in SQLite: each call is one transaction. Runs in the worker thread.
import type { LeaseRequest } from '#domain/lease-store.ts';
import type { Statements } from './statements.ts';

const EXPIRE = 'DELETE FROM leases WHERE expires_ms <= ?';
const ACQUIRE = `INSERT INTO leases (name, holder, expires_ms) VALUES (?, ?, ?)
  ON CONFLICT (name) DO UPDATE SET expires_ms = excluded.expires_ms WHERE leases.holder = excluded.holder`;
const RELEASE = 'DELETE FROM leases WHERE name = ? AND holder = ?';

/** See LeaseStore; `nowMs` is the store's clock. */
export function acquireLeases(
  statements: Statements,
  { holder, names, ttlMs }: LeaseRequest & { readonly ttlMs: number },
  nowMs: number,
): readonly string[] {
  return statements.transact(() => {
    statements.run(EXPIRE, Math.floor(nowMs));
    return names.filter((name) => statements.run(ACQUIRE, name, holder, Math.floor(nowMs + ttlMs)) === 1);
  });
}

/** See LeaseStore. */
export function releaseLeases(statements: Statements, { holder, names }: LeaseRequest): void {
  statements.transact(() => {
    for (const name of names) statements.run(RELEASE, name, holder);
  });
}
