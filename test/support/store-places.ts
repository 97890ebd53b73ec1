// Where the stores of one test file lie: files in a folder of its own, keys under prefixes of their own on the shared Redis.
// Everything is removed after the file's last test. Not here: opening stores.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, inject } from 'vitest';

/** What `openStore` needs for an empty store. */
export interface StorePlace {
  readonly url: string;
  readonly prefix: string;
  /** SQLite's file, not there yet; on Redis nothing lies there. */
  readonly path: string;
}

/** Made once, at the top of a test file: registers the hook that removes what was made. */
export class StorePlaces {
  /** Exists from the start, for whatever else the tests write. */
  readonly folder: string;
  readonly redisUrl = inject('redisUrl');
  /** Past the stores, straight to the keys; connects when it is first used. */
  readonly admin = new Redis(this.redisUrl, { lazyConnect: true });
  readonly #prefixes: string[] = [];

  /** `name` stands in the folder's name, to tell what a killed run left behind. */
  constructor(name: string) {
    this.folder = mkdtempSync(join(tmpdir(), `inferometer-${name}-`));
    afterAll(() => this.#remove());
  }

  /** Of keys nobody else has. */
  newPrefix(): string {
    const prefix = `test-${randomUUID()}`;
    this.#prefixes.push(prefix);
    return prefix;
  }

  newPlace(kind: 'sqlite' | 'redis'): StorePlace {
    const prefix = this.newPrefix();
    const path = join(this.folder, `${prefix}.db`);
    return { url: kind === 'sqlite' ? `sqlite:${path}` : this.redisUrl, prefix, path };
  }

  async #remove(): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
    for (const prefix of this.#prefixes) {
      const keys = await this.admin.keys(`${prefix}:*`);
      if (keys.length > 0) await this.admin.del(...keys);
    }
    this.admin.disconnect();
  }
}
