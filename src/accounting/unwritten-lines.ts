// Journal lines that the disk refused, in the order they were made, until it takes them. Not here: writing (journal.ts).

/** What may wait: some minutes of a busy gateway. */
const CHARACTERS_MAX = 64 * 1024 * 1024;
/** Progress lines are worth nothing once the next one is due. */
const NOT_KEPT = '{"t":"progress"';

/** A bounded queue of JSON lines. As long as it does not overflow, the journal ends up as if the disk had never been full. */
export class UnwrittenLines {
  readonly #charactersMax: number;
  #lines: string[] = [];
  #characters = 0;
  #dropped = 0;

  constructor(charactersMax = CHARACTERS_MAX) {
    this.#charactersMax = charactersMax;
  }

  /** Lines in memory alone. */
  get count(): number {
    return this.#lines.length;
  }

  /** Lines that did not fit since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Keeps a line for later, where there is room. */
  keep(json: string): void {
    if (json.startsWith(NOT_KEPT)) return;
    if (this.#characters + json.length > this.#charactersMax) {
      this.#dropped += 1;
      return;
    }
    this.#lines.push(json);
    this.#characters += json.length;
  }

  /** Writes at most `limit` lines, oldest first; throws what `write` throws on the first that it does not take. */
  drain(write: (json: string) => void, limit: number): void {
    if (this.#lines.length === 0) return;
    let written = 0;
    try {
      for (const json of this.#lines.slice(0, limit)) {
        write(json);
        written += 1;
        this.#characters -= json.length;
      }
    } finally {
      this.#lines = this.#lines.slice(written);
    }
  }

  /** The lines themselves, oldest first. */
  read(): readonly string[] {
    return this.#lines;
  }
}
