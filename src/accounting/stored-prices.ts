// The configuration with the prices that windows are priced with: those of the store's fact book, also where a file's change of them was refused.
// For what shows a price, or estimates with one; the books read the facts themselves.
import type { Config } from '#config/config.ts';
import { pricesInForce } from '#config/price-book.ts';
import type { FactBook } from '#domain/pool-facts.ts';

/** As far as this process knows the book; before it knows one, the prices of the configuration. */
export class StoredPrices {
  #book: FactBook | null = null;
  #made: { readonly from: Config; readonly config: Config } | null = null;

  /** Cheap where nothing changed. */
  take(book: FactBook): void {
    if (book.version === this.#book?.version) return;
    this.#book = book;
    this.#made = null;
  }

  /** The same object again until the configuration or the book changes. */
  of(config: Config): Config {
    if (this.#book === null) return config;
    if (this.#made?.from !== config)
      this.#made = { from: config, config: { ...config, prices: pricesInForce(config.prices, this.#book) } };
    return this.#made.config;
  }
}
