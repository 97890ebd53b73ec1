// Lives here: the blocks of a simulated KV cache: who holds them, which prompt prefixes can be used again, least
// recently used ones given up first. Not here: which sequence may run (engine-core.ts).

/** Blocks one sequence holds. Made by `KvCache.hold`, given back by `release`. */
export interface BlockHolding {
  /** Blocks only this sequence uses. */
  ownBlocks: number;
  /** Fingerprints of the shared prefix blocks it holds, in prompt order. */
  readonly sharedBlocks: number[];
}

/**
 * A KV cache of `capacityBlocks` blocks. A block is held by one or more sequences, or idle: kept because its prefix
 * may come again, and given up when room is needed.
 */
export class KvCache {
  readonly capacityBlocks: number;
  readonly #prefixes: boolean;
  readonly #holdersOf = new Map<number, number>();
  // Insertion order is the order of last use.
  readonly #idle = new Set<number>();
  #ownBlocks = 0;

  constructor(options: { capacityBlocks: number; prefixes: boolean }) {
    this.capacityBlocks = options.capacityBlocks;
    this.#prefixes = options.prefixes;
  }

  /** Blocks held by sequences now; never more than the capacity. */
  get usedBlocks(): number {
    return this.#ownBlocks + this.#holdersOf.size;
  }

  /** Blocks a sequence could still get, idle prefixes included. */
  get freeBlocks(): number {
    return this.capacityBlocks - this.usedBlocks;
  }

  /** How many leading blocks of these fingerprints are in the cache. Changes nothing. */
  countMatching(fingerprints: readonly number[]): number {
    let matching = 0;
    for (const fingerprint of fingerprints) {
      if (!this.#holdersOf.has(fingerprint) && !this.#idle.has(fingerprint)) break;
      matching += 1;
    }
    return matching;
  }

  /** How many of these fingerprints are idle: holding them takes that many blocks from `freeBlocks`. */
  countIdle(fingerprints: readonly number[]): number {
    return fingerprints.reduce((idle, fingerprint) => idle + (this.#idle.has(fingerprint) ? 1 : 0), 0);
  }

  /** Holds the given prefix blocks, which must be in the cache. */
  hold(fingerprints: readonly number[]): BlockHolding {
    for (const fingerprint of fingerprints) {
      this.#idle.delete(fingerprint);
      this.#holdersOf.set(fingerprint, (this.#holdersOf.get(fingerprint) ?? 0) + 1);
    }
    return { ownBlocks: 0, sharedBlocks: [...fingerprints] };
  }

  /** Gives the holder `blocks` more blocks of its own; false, and nothing changed, if there are not so many. */
  grow(holding: BlockHolding, blocks: number): boolean {
    if (blocks > this.freeBlocks) return false;
    this.#ownBlocks += blocks;
    holding.ownBlocks += blocks;
    this.#makeRoom();
    return true;
  }

  /** Lets others use a block whose contents the holder has just computed. A prefix already known stays as it is. */
  publish(holding: BlockHolding, fingerprint: number): void {
    if (!this.#prefixes || holding.ownBlocks === 0) return;
    if (this.#holdersOf.has(fingerprint) || this.#idle.has(fingerprint)) return;
    holding.ownBlocks -= 1;
    this.#ownBlocks -= 1;
    holding.sharedBlocks.push(fingerprint);
    this.#holdersOf.set(fingerprint, 1);
  }

  /** Gives everything back; shared blocks without another holder become idle prefixes. */
  release(holding: BlockHolding): void {
    this.#ownBlocks -= holding.ownBlocks;
    holding.ownBlocks = 0;
    // Last block first: of one prompt the tail is given up before the head, which more prompts share.
    for (const fingerprint of holding.sharedBlocks.toReversed()) {
      const holders = (this.#holdersOf.get(fingerprint) ?? 1) - 1;
      if (holders > 0) this.#holdersOf.set(fingerprint, holders);
      else {
        this.#holdersOf.delete(fingerprint);
        this.#idle.add(fingerprint);
      }
    }
    holding.sharedBlocks.length = 0;
    this.#makeRoom();
  }

  #makeRoom(): void {
    for (const fingerprint of this.#idle) {
      if (this.usedBlocks + this.#idle.size <= this.capacityBlocks) return;
      this.#idle.delete(fingerprint);
    }
  }
}
