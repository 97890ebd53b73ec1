// How long an engine's prefix cache keeps what it has seen, learned from how requests went whose prompts began like earlier ones.
// Not here: which prompts begin alike (prefix-memory.ts), what is made of it (split-prompt.ts).

/** Requests after which all counts are halved: an engine may be restarted with another cache. */
const TRIALS_MAX = 2000;
/** Hits before anything is believed. */
const HITS_MIN = 3;
/** Distances in steps of an eighth of an octave, from 64 tokens on: 17 octaves. */
const STEPS_PER_OCTAVE = 8;
const DISTANCES = 17 * STEPS_PER_OCTAVE;
const FIRST_TOKENS = 64;
/** Requests that began like none before look cached by chance, or by a profile that is too slow: hits must be this much more frequent. */
const CONTROL_FACTOR = 2;
const CONTROL_MARGIN = 0.1;

/**
 * Counts hits and misses by distance: tokens that the engine took in between the last use of a beginning and the next (its LRU stack distance).
 * A cache of C tokens hits below C and misses above, so that the distance at which hits cease is its capacity, whatever the engine says of it.
 */
export class PrefixEvidence {
  readonly #hits = new Float64Array(DISTANCES);
  readonly #trials = new Float64Array(DISTANCES);
  #controlHits = 0;
  #controlTrials = 0;
  #sum = 0;
  /** Null: to be found anew. */
  #capacity: number | null = 0;

  /** Tokens within which a beginning seen before is taken for cached; 0 where nothing shows that the engine caches. */
  get capacityTokens(): number {
    this.#capacity ??= this.#find();
    return this.#capacity;
  }

  /** A prompt that began like one at this distance was, or was not, served from the cache. */
  addTrial(distanceTokens: number, isHit: boolean): void {
    const step = stepOf(distanceTokens);
    this.#trials[step] = (this.#trials[step] ?? 0) + 1;
    if (isHit) this.#hits[step] = (this.#hits[step] ?? 0) + 1;
    this.#count();
  }

  /** A prompt that began like none before looked as if it were cached, or did not. */
  addControl(looksCached: boolean): void {
    this.#controlTrials += 1;
    if (looksCached) this.#controlHits += 1;
    this.#count();
  }

  #count(): void {
    this.#capacity = null;
    this.#sum += 1;
    if (this.#sum < TRIALS_MAX) return;
    this.#sum /= 2;
    this.#controlHits /= 2;
    this.#controlTrials /= 2;
    for (const counts of [this.#hits, this.#trials]) for (const at of counts.keys()) counts[at] = (counts[at] ?? 0) / 2;
  }

  /** The step beyond which hits are less than half as frequent as up to it. */
  #find(): number {
    let best = DISTANCES - 1;
    // The rate of hits within the capacity is not known before the capacity is: twice is enough to settle.
    for (let pass = 0; pass < 2; pass += 1) {
      const { hits, trials } = this.#sumUpTo(best);
      if (hits < HITS_MIN) return 0;
      best = this.#bestStep(hits / trials / 2);
    }
    const { hits, trials } = this.#sumUpTo(best);
    const control = this.#controlTrials === 0 ? 0 : this.#controlHits / this.#controlTrials;
    return hits >= HITS_MIN && hits / trials > CONTROL_FACTOR * control + CONTROL_MARGIN ? endOf(best) : 0;
  }

  #bestStep(rate: number): number {
    let best = 0;
    let most = Number.NEGATIVE_INFINITY;
    let surplus = 0;
    for (let step = 0; step < DISTANCES; step += 1) {
      const trials = this.#trials[step] ?? 0;
      surplus += (this.#hits[step] ?? 0) - rate * trials;
      // Steps nobody saw say nothing: the capacity ends where somebody did.
      if (trials === 0 || surplus < most) continue;
      most = surplus;
      best = step;
    }
    return best;
  }

  #sumUpTo(last: number): { readonly hits: number; readonly trials: number } {
    let hits = 0;
    let trials = 0;
    for (let step = 0; step <= last; step += 1) {
      hits += this.#hits[step] ?? 0;
      trials += this.#trials[step] ?? 0;
    }
    return { hits, trials };
  }
}

function stepOf(tokens: number): number {
  const step = Math.floor(STEPS_PER_OCTAVE * Math.log2(Math.max(1, tokens / FIRST_TOKENS)));
  return Math.min(DISTANCES - 1, step);
}

function endOf(step: number): number {
  return step === DISTANCES - 1 ? Number.POSITIVE_INFINITY : FIRST_TOKENS * 2 ** ((step + 1) / STEPS_PER_OCTAVE);
}
