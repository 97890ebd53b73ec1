// Every name of a Redis key, in one place. All of a store share one hash tag, so that its scripts run on a cluster.
import type { Granularity } from '#domain/books.ts';

/** Key names of one store. Times are epoch seconds of the first second of what the key holds. */
export class RedisKeys {
  readonly #start: string;

  constructor(prefix: string) {
    this.#start = `${prefix}:{s0}:`;
  }

  /** Hash: schema, epoch, frontier, k, versions and the aliveClock. */
  get meta(): string {
    return `${this.#start}meta`;
  }
  /** Hash `<journal>|<field>`: state and cursor of every member. */
  get journals(): string {
    return `${this.#start}journals`;
  }
  /** Set of the journals that hold the frontier. */
  get live(): string {
    return `${this.#start}live`;
  }
  /** Hash `<window>|<journal>|<pool>` → JSON of the publication. */
  get board(): string {
    return `${this.#start}board`;
  }
  /** Sorted set of the board's fields by window. */
  get boardIndex(): string {
    return `${this.#start}board-index`;
  }
  /** Hash `<journal>|<window>|<pool>` → 1 healthy, 0 not. */
  get health(): string {
    return `${this.#start}health`;
  }
  /** Hash k → hash of the freeze. */
  get chain(): string {
    return `${this.#start}chain`;
  }
  /** Everything that a freeze is computed from, in the order of read-freeze-input.lua. */
  get freezeInput(): string[] {
    return [this.meta, this.journals, this.live, this.board, this.boardIndex, this.health, this.facts];
  }
  /** String: JSON of the fact book's pools. */
  get facts(): string {
    return `${this.#start}facts`;
  }
  /** Hash: version and text of the learner's document. */
  get learned(): string {
    return `${this.#start}learned`;
  }
  /** Hash: first second of an archived UTC day → hash of its manifest, or `begun`. */
  get archive(): string {
    return `${this.#start}archive`;
  }
  /** List: JSON of the vouchers in order of their number. */
  get vouchers(): string {
    return `${this.#start}vouchers`;
  }
  /** Hash `<journal>.<seq>` → JSON of the late claim; by the first second of the UTC month of its hour. */
  lateClaims(month: number): string {
    return `${this.#start}late:${month}`;
  }
  /** Hash: JSON of a cell's dimensions → its id. */
  get dims(): string {
    return `${this.#start}dims`;
  }
  /** Sorted set by k of `<sum handed out so far>|<JSON of the share>`: what the journal has not claimed. */
  pending(journal: string): string {
    return `${this.#start}pending:${journal}`;
  }
  /** Hash seq → `<hash>|<claim applied>|<late count>` of the journal's latest messages. */
  hashes(journal: string): string {
    return `${this.#start}hashes:${journal}`;
  }
  /** Hash `<metric number>:<pool>` → amount and `names:<pool>` → JSON [deployments, gpu]. */
  books(hour: number): string {
    return `${this.#start}books:${hour}`;
  }
  /** Hash `<dims id>:<metric number>` → amount. */
  cells(granularity: Granularity, start: number): string {
    return `${this.#start}cells:${granularity}:${start}`;
  }
  /** Sorted set of the day's batches by their latest ending (epoch ms): `<earliest ending>|<journal>.<seq>.<part>`. */
  batchIndex(day: number): string {
    return `${this.#start}batches:${day}`;
  }
  /** Hash: batch → deflated records. */
  batchBodies(day: number): string {
    return `${this.#start}bodies:${day}`;
  }
  /** Hash `<journal>.<seq>` → link of the journal's entry before, a newline, the deflated claim message. */
  entries(day: number): string {
    return `${this.#start}entries:${day}`;
  }
  /** String: who holds the lease; expires with it. */
  lease(name: string): string {
    return `${this.#start}lease:${name}`;
  }
  /** List: `<k of the hour's first freeze>|<chain hash before it>`, then 32 bytes of digest per freeze. */
  freezes(hour: number): string {
    return `${this.#start}freezes:${hour}`;
  }
}
