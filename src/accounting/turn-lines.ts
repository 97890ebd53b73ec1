// Journal lines of one turn of the event loop, until they are written together. Not here: writing them (journal.ts).

/** More than this does not wait for the end of the turn. */
const CHARACTERS_MAX = 16 * 1024;
const NO_LINES: readonly string[] = [];

/** Collects lines; `write` is called when there are many and at the end of the turn at the latest. */
export class TurnLines {
  readonly #write: () => void;
  #lines: string[] = [];
  #characters = 0;
  #atTurnEnd: NodeJS.Immediate | null = null;

  constructor(write: () => void) {
    this.#write = write;
  }

  add(json: string): void {
    this.#lines.push(json);
    this.#characters += json.length;
    if (this.#characters >= CHARACTERS_MAX) this.#write();
    else this.#atTurnEnd ??= setImmediate(this.#write);
  }

  /** All of them, oldest first; they are no longer here. */
  take(): readonly string[] {
    if (this.#lines.length === 0) return NO_LINES;
    if (this.#atTurnEnd !== null) clearImmediate(this.#atTurnEnd);
    this.#atTurnEnd = null;
    const lines = this.#lines;
    this.#lines = [];
    this.#characters = 0;
    return lines;
  }
}
