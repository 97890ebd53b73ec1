// The store's state without its board, for those that only report it. Not here: what a freeze is computed from (redis-settlement-store.ts).
import { toList } from './read-replies.ts';
import type { RedisConnection } from './redis-connection.ts';

const NO_WINDOWS = '0';

/** What read-freeze-input.lua returns, publications left out. Rejects with StoreUnavailableError. */
export async function readState(connection: RedisConnection): Promise<readonly unknown[]> {
  return toList(await connection.runScript('readFreezeInput', connection.keys.freezeInput, [NO_WINDOWS]));
}
