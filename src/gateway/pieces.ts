// Bytes that come in pieces and are wanted whole. Nearly always there is one piece: it is neither copied nor put into a list, which would be
// made for seventeen.

/** Owns the pieces; whole they are the only one itself, or a copy of several. */
export class Pieces {
  #first: Buffer | null = null;
  #more: Buffer[] | null = null;
  #length = 0;

  /** Bytes of all pieces. */
  get length(): number {
    return this.#length;
  }

  add(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#first === null) this.#first = piece;
    else if (this.#more === null) this.#more = [piece];
    else this.#more.push(piece);
  }

  /** In the order in which they came. */
  list(): readonly Buffer[] {
    return this.#first === null ? [] : [this.#first, ...(this.#more ?? [])];
  }

  join(): Buffer {
    return this.#first !== null && this.#more === null ? this.#first : Buffer.concat(this.list(), this.#length);
  }

  clear(): void {
    this.#first = this.#more = null;
    this.#length = 0;
  }
}
