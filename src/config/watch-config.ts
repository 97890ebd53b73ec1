// Takes over a changed config while the gateway runs: on demand (SIGHUP) and, with `watch: true`, by itself.
// What a change means for a part of the gateway is that part's listener.
import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '#domain/log.ts';
import type { Config } from './config.ts';
import type { Environment } from './interpolate.ts';
import type { LoadOptions, LoadResult } from './load-config.ts';
import { formatProblem } from './problem.ts';
import type { Problem } from './problem.ts';
import { keepUntilRestart, restartNeeded } from './restart-needed.ts';

/** What one reload did. `restartNeeded` names changed keys that wait for the next start. */
export type ReloadResult =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly changed: boolean;
      readonly warnings: readonly Problem[];
      readonly restartNeeded: readonly string[];
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Called with the config now in force and the one before. What it throws is logged and stops nobody else. */
export type ConfigListener = (next: Config, old: Config) => void;

/** `initial` and `files` are what `loadConfig` gave at start. `pollMs`: how often `watch` looks at the files. */
export interface ConfigReloaderOptions {
  readonly path: string;
  readonly env: Environment;
  readonly initial: Config;
  readonly files?: readonly string[];
  readonly log: Log;
  /** How the file is read; it never rejects. */
  readonly load: (options: LoadOptions) => LoadResult | Promise<LoadResult>;
  readonly pollMs?: number;
  /** Epoch milliseconds; for tests. */
  readonly now?: () => number;
}

const DEFAULT_POLL_MS = 2000;

/** Holds the config in force. A bad file is refused and logged, and the old config stays. */
export class ConfigReloader {
  readonly #options: ConfigReloaderOptions;
  readonly #listeners = new Set<ConfigListener>();
  #current: Config;
  #files: readonly string[];
  #fingerprint: Promise<string> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastReloadSuccessful = true;
  #reading: Promise<ReloadResult> | undefined;
  /** Reads when the present reading is done. */
  #next: Promise<ReloadResult> | undefined;

  constructor(options: ConfigReloaderOptions) {
    this.#options = options;
    this.#current = options.initial;
    this.#files = options.files ?? [options.path];
  }

  /** The config in force; keys that need a restart keep the value of the start. */
  get current(): Config {
    return this.#current;
  }

  /** False after a reload that was refused, until one succeeds. */
  get lastReloadSuccessful(): boolean {
    return this.#lastReloadSuccessful;
  }

  /** Registers for changes; the answer takes it back. */
  onChange(listener: ConfigListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Watches the files if the config says `watch: true`, and stops or starts doing so when a reload changes that. */
  start(): void {
    this.#timer ??= setInterval(() => void this.poll(), this.#options.pollMs ?? DEFAULT_POLL_MS).unref();
    if (this.#current.watch) this.#fingerprint ??= readFingerprint(this.#files);
  }

  /** Ends watching; `reload` goes on working. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#fingerprint = undefined;
  }

  /**
   * Reads the file again and, if it is valid and differs, puts it in force and tells the listeners before the promise
   * resolves. Never rejects. Two calls at once run one after the other; whoever comes while one reads and another waits shares the latter's answer.
   */
  async reload(): Promise<ReloadResult> {
    if (this.#fingerprint !== undefined) this.#fingerprint = readFingerprint(this.#files);
    await this.#fingerprint;
    return this.#reloadNow();
  }

  /** One look at the files: reloads when one of them, or what a symlink on the way points to, is another one now. */
  async poll(): Promise<ReloadResult | undefined> {
    if (!this.#current.watch) {
      this.#fingerprint = undefined;
      return undefined;
    }
    const seen = this.#fingerprint;
    const now = readFingerprint(this.#files);
    this.#fingerprint = now;
    if (seen === undefined || (await seen) === (await now)) return undefined;
    return this.#reloadNow();
  }

  #reloadNow(): Promise<ReloadResult> {
    if (this.#next !== undefined) return this.#next;
    if (this.#reading === undefined) return this.#begin();
    const begin = (): Promise<ReloadResult> => {
      this.#next = undefined;
      return this.#begin();
    };
    this.#next = this.#reading.then(begin, begin);
    return this.#next;
  }

  #begin(): Promise<ReloadResult> {
    const reading = this.#readAgain().finally(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    this.#reading = reading;
    return reading;
  }

  async #readAgain(): Promise<ReloadResult> {
    const { path, env, now, load } = this.#options;
    return this.#take(await load({ path, env, ...(now === undefined ? {} : { nowMs: now() }) }));
  }

  #take(loaded: LoadResult): ReloadResult {
    const { log } = this.#options;
    // A file with a syntax error does not say which secret files it names; those of before stay watched.
    this.#files = loaded.ok ? loaded.files : [...new Set([...loaded.files, ...this.#files])];
    this.#lastReloadSuccessful = loaded.ok;
    if (!loaded.ok) {
      const problems = loaded.problems.map(formatProblem);
      log.error({ event: 'config_reload_refused', problems }, 'config refused, the old one stays in force');
      return { ok: false, problems: loaded.problems };
    }
    const old = this.#current;
    const restart = restartNeeded(old, loaded.config);
    const next = keepUntilRestart(old, loaded.config);
    const changed = !isDeepStrictEqual(old, next);
    if (changed) this.#current = next;
    if (restart.length > 0) {
      log.warn(
        { event: 'config_restart_needed', keys: restart },
        'some changed keys take effect at the next start only',
      );
    }
    for (const warning of loaded.warnings) log.warn({ event: 'config_warning' }, formatProblem(warning));
    log.info({ event: 'config_reloaded', changed }, changed ? 'config reloaded' : 'config read again, nothing changed');
    if (changed) this.#tell(next, old);
    return { ok: true, config: this.#current, changed, warnings: loaded.warnings, restartNeeded: restart };
  }

  #tell(next: Config, old: Config): void {
    for (const listener of this.#listeners) {
      try {
        listener(next, old);
      } catch (err) {
        const reason = err instanceof Error ? err.message : String(err);
        this.#options.log.error(
          { event: 'config_listener_failed', reason },
          'a part of the gateway refused the new config',
        );
      }
    }
  }
}

/** Device, inode, size and time of what each path leads to: another file under the same name differs in one of them. */
async function readFingerprint(files: readonly string[]): Promise<string> {
  const marks = await Promise.all(
    files.map(async (file) => {
      const found = await stat(file, { bigint: true }).catch(() => undefined);
      return found === undefined ? 'missing' : `${found.dev}:${found.ino}:${found.size}:${found.mtimeNs}`;
    }),
  );
  return marks.join('|');
}
