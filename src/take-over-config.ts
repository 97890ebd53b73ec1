// Brings a running gateway to a new configuration, one after the other: from a reloaded file or from changed addresses of `dns+` upstreams.
// Reading the file is config's, resolving names dns-discovery's.
import type { Accounting } from '#accounting/create-accounting.ts';
import type { Config } from '#config/config.ts';
import type { Log } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import type { DnsDiscovery } from '#gateway/dns-discovery.ts';

export interface TakeOverOptions {
  readonly discovery: DnsDiscovery;
  readonly accounting: Pick<Accounting, 'applyFacts'>;
  readonly log: Log;
  /** What `accounting` reads its facts from; called before they are stored. */
  readonly announce: (config: Config) => void;
  /** Puts the config in force for requests; called when its facts are stored, or cannot be for now. */
  readonly use: (config: Config) => void;
}

const RETRY_MS = 1000;

/** Facts first: an engine that a request can reach has GPUs with a price. */
export class ConfigTakeOver {
  readonly #options: TakeOverOptions;
  #last: Promise<unknown> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: TakeOverOptions) {
    this.#options = options;
  }

  /**
   * The refusals of the prices that a start brings. Joining the store has stored their facts a moment ago: one that is away again, or that was
   * emptied since, keeps no gateway from starting, for the rounds of settlement see to it.
   */
  async begin(): Promise<readonly string[]> {
    try {
      return await this.#inTurn(() => this.#options.accounting.applyFacts());
    } catch (error) {
      if (error instanceof StoreUnavailableError) return [];
      throw error;
    }
  }

  /** Takes over a config as written in the file; the refusals of its prices. Rejects with StoreUnavailableError: it is then in force, its facts follow. */
  reload(written: Config): Promise<readonly string[]> {
    return this.#inTurn(async () => this.#takeOver(await this.#options.discovery.follow(written)));
  }

  /** Follows the addresses from now on. */
  watch(): void {
    const { discovery } = this.#options;
    discovery.start((config) => {
      const done = this.#inTurn(async () => {
        if (discovery.isCurrent(config)) await this.#takeOver(config);
      });
      // The store does not answer: told by store_up, and tried again.
      done.catch(() => {});
    });
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#retry);
    this.#options.discovery.stop();
  }

  async #takeOver(config: Config): Promise<readonly string[]> {
    this.#options.announce(config);
    try {
      return await this.#applyFacts();
    } finally {
      if (!this.#isStopped) this.#options.use(config);
    }
  }

  async #applyFacts(): Promise<readonly string[]> {
    clearTimeout(this.#retry);
    try {
      return await this.#options.accounting.applyFacts();
    } catch (error) {
      if (!this.#isStopped) this.#retry = setTimeout(() => void this.#tryAgain(), RETRY_MS).unref();
      throw error;
    }
  }

  async #tryAgain(): Promise<void> {
    try {
      await this.#inTurn(() => this.#applyFacts());
      this.#options.log.info({}, 'the store has the facts of the configuration in force');
    } catch {
      // Tried again by the timer that the failure has set.
    }
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#last.then(task);
    this.#last = run.catch(() => {});
    return run;
  }
}
