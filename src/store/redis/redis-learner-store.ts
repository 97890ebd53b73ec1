// The learner's document in Redis: one hash of version and text.
import type { LearnedDocument, LearnerStore } from '#domain/learner-store.ts';
import type { RedisConnection } from './redis-connection.ts';

/** Shares the connection that the settlement store opens and closes. */
export class RedisLearnerStore implements LearnerStore {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async readLearned(): Promise<LearnedDocument> {
    const { keys, options } = this.#connection;
    const [version, text] = await this.#connection.call(
      'readLearned',
      (client) => client.hmget(keys.learned, 'version', 'text'),
      options.timeoutMs,
    );
    return { version: Number(version ?? 0), text: text ?? '' };
  }

  async putLearned(text: string, expectedVersion: number): Promise<'stored' | 'stale'> {
    const { keys } = this.#connection;
    const reply = await this.#connection.runScript('putLearned', [keys.learned], [String(expectedVersion), text]);
    return reply === 1 ? 'stored' : 'stale';
  }
}
