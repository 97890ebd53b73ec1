// Refuses a Redis that has no database of the number in store.url: ioredis then goes on in database 0, among the keys of others.
import type { Redis } from 'ioredis';
import { StoreSchemaError, StoreUnavailableError } from '#domain/settlement-store.ts';
import type { RedisConnection } from './redis-connection.ts';

/** Throws StoreSchemaError where the server answers that it will not select it, StoreUnavailableError where it does not answer. */
export async function checkDatabase(connection: RedisConnection): Promise<void> {
  const { address, timeoutMs } = connection.options;
  // Where every connection begins, and the only one that a cluster has.
  if (address.db === 0) return;
  try {
    await connection.call('SELECT', (client) => (client as Redis).select(address.db), timeoutMs);
  } catch (err) {
    const reply = err instanceof StoreUnavailableError && err.cause instanceof Error ? err.cause.message : '';
    if (!/^(?:ERR|NOPERM)/.test(reply)) throw err;
    throw new StoreSchemaError(
      `Redis refuses database ${address.db} of store.url (${reply}): name one that it has and this user may select`,
      { cause: err },
    );
  }
}
