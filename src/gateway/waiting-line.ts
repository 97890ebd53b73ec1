// Requests waiting for a replica that is not full: bounded, first come first served within a team, teams in turn.
// What they wait for and for how long is replica-set.ts's.

/** `retry`: has been tried already and goes before all that were not. */
export type Urgency = 'retry' | 'first';

/** Somebody in the line. */
export interface Waiter {
  readonly team: string;
  readonly urgency: Urgency;
}

/**
 * A line of waiters. Of each urgency, the teams take turns and each team's waiters stand in the order of their coming. Joining, leaving and
 * being next cost the same however long the line is.
 */
export class WaitingLine<W extends Waiter> {
  /** Teams in the order of their turns. */
  readonly #turns: Readonly<Record<Urgency, Map<string, Set<W>>>> = { retry: new Map(), first: new Map() };
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Joins at the end of its team's part; false where `maxLength` are waiting already. */
  join(waiter: W, maxLength: number): boolean {
    if (this.#length >= maxLength) return false;
    const turns = this.#turns[waiter.urgency];
    const own = turns.get(waiter.team);
    if (own === undefined) turns.set(waiter.team, new Set([waiter]));
    else own.add(waiter);
    this.#length += 1;
    return true;
  }

  /** Leaves from wherever it stands; false where it is not in the line. */
  leave(waiter: W): boolean {
    const turns = this.#turns[waiter.urgency];
    const own = turns.get(waiter.team);
    if (own?.delete(waiter) !== true) return false;
    if (own.size === 0) turns.delete(waiter.team);
    this.#length -= 1;
    return true;
  }

  /**
   * Takes out the next one for whom `take` returns true: of each team its first alone is asked, in turn. The team that was served goes
   * last. Undefined where nobody could be served.
   */
  serve(take: (waiter: W) => boolean): W | undefined {
    for (const turns of [this.#turns.retry, this.#turns.first]) {
      for (const [team, own] of turns) {
        const [waiter] = own;
        if (waiter === undefined || !take(waiter)) continue;
        this.leave(waiter);
        if (turns.delete(team)) turns.set(team, own);
        return waiter;
      }
    }
    return undefined;
  }

  /** Everybody who waits, in no useful order. */
  *[Symbol.iterator](): Generator<W> {
    for (const turns of [this.#turns.retry, this.#turns.first]) for (const own of turns.values()) yield* own;
  }
}
