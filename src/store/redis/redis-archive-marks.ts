// Which days stand in the archive, in Redis: one hash, from which claims take their days out again. Not here: writing the archive.
import type { ArchiveMarks } from '#domain/archive-marks.ts';
import { toHash } from './read-replies.ts';
import type { RedisConnection } from './redis-connection.ts';

/** Shares the connection of the other ports. */
export class RedisArchiveMarks implements ArchiveMarks {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async readExported(): Promise<ReadonlyMap<number, string>> {
    const { keys, options } = this.#connection;
    const marks = await this.#connection.call('archive', (client) => client.hgetall(keys.archive), options.timeoutMs);
    const done = [...toHash(marks)].filter(([, hash]) => hash !== 'begun');
    return new Map(done.map(([day, hash]) => [Number(day), hash]));
  }

  async beginExport(day: number): Promise<void> {
    const { keys, options } = this.#connection;
    const begin = { [day]: 'begun' };
    await this.#connection.call('archive', (client) => client.hset(keys.archive, begin), options.timeoutMs);
  }

  async finishExport(day: number, ledgerHash: string): Promise<boolean> {
    const { keys } = this.#connection;
    return (await this.#connection.runScript('finishExport', [keys.archive], [String(day), ledgerHash])) === 1;
  }

  async dropDay(day: number): Promise<boolean> {
    const { keys } = this.#connection;
    const used = [keys.archive, keys.batchIndex(day), keys.batchBodies(day), keys.entries(day)];
    await this.#connection.runScript('dropDay', used, [String(day)]);
    return true;
  }
}
