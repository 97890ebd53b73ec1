// Refuses a Redis that throws keys away when its memory is full: to it a team's month is a key like any other.
import { StoreSchemaError } from '#domain/settlement-store.ts';
import type { RedisConnection } from './redis-connection.ts';

/**
 * Throws StoreSchemaError when the server has a memory limit and an evicting policy, warns when only the policy is set.
 * Servers that forbid CONFIG (managed ones do) are taken as they are.
 */
export async function checkEviction(connection: RedisConnection): Promise<void> {
  const [policy, limit] = await Promise.all([
    readSetting(connection, 'maxmemory-policy'),
    readSetting(connection, 'maxmemory'),
  ]);
  if (policy === null || policy === 'noeviction') return;
  if (limit !== null && limit !== '0') {
    throw new StoreSchemaError(
      `Redis evicts keys when its memory is full (maxmemory-policy ${policy}), which would lose booked money: set noeviction`,
    );
  }
  connection.options.log.warn(
    { policy },
    'Redis would evict booked money if maxmemory were set: use maxmemory-policy noeviction',
  );
}

async function readSetting(connection: RedisConnection, name: string): Promise<string | null> {
  try {
    const reply = await connection.call(
      'CONFIG GET',
      (client) => client.config('GET', name),
      connection.options.timeoutMs,
    );
    return Array.isArray(reply) && reply.length === 2 ? String(reply[1]) : null;
  } catch {
    return null;
  }
}
