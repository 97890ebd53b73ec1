// What the prefix cache of each engine has seen, as far as it went through this process: which prompts begin like earlier ones, and how much the
// engine took in since then. Hot path: once at dispatch, first token and end. Not here: how long an engine keeps it (prefix-evidence.ts).
import { printEdges, type PromptPrint } from '#domain/prompt-print.ts';
import { PrefixEvidence } from './prefix-evidence.ts';

/** Marks of all engines together, about 100 bytes each; an engine has an equal part of them, and its oldest are forgotten first. */
const MARKS_KEPT = 262_144;
const MAX_ENGINES = 256;
/** Forgotten in lots of this part: before its oldest entry a Map walks over as many holes as were ever made there, which would cost each request more than all else here. */
const FORGOTTEN_LOT = 1 / 16;

/** A beginning that is in use, or was last used, by one request. */
interface Sharer {
  /** Epoch ms of its first token, by when its prompt was in the cache; null before, and of an answer that does not stream. */
  firstMs: number | null;
  readonly streams: boolean;
  /** Its prompt was never computed to the end: those who matched it while it ran have nothing of it. */
  isRefused: boolean;
  /** Tokens that the engine had given back before this request's own, when it ended; null while it runs. */
  releasedBefore: number | null;
  matches: readonly Match[];
}

/** The first `bytes` bytes are those of `sharer`'s prompt as well. */
interface Match {
  bytes: number;
  readonly sharer: Sharer;
}

interface EngineCache {
  /** By mark, oldest use first. */
  readonly marks: Map<number, Sharer>;
  readonly evidence: PrefixEvidence;
  /** Tokens ever taken into the KV cache, and ever given back: the difference is what running requests hold. */
  allocated: number;
  released: number;
}

/** What is known of a request when it is dispatched. */
export interface PrefixStart {
  readonly pool: string;
  readonly deployment: string;
  readonly print: PromptPrint | null;
  readonly estimatedPromptTokens: number;
  readonly stream: boolean;
}

/** The beginning of a prompt that the engine had seen: its part of the prompt, the bytes after it, and what was taken in since, in tokens. */
export interface SeenPrefix {
  readonly part: number;
  readonly newBytes: number;
  readonly distanceTokens: number;
}

/** The prefix caches of all engines. Lost with the process: what it does not know it does not expect. */
export class PrefixMemory {
  readonly #engines = new Map<string, EngineCache>();

  /** A request goes to its engine; null where there are too many engines. */
  begin(start: PrefixStart): PrefixUse | null {
    const key = `${start.pool}\n${start.deployment}`;
    let engine = this.#engines.get(key);
    if (engine === undefined) {
      if (this.#engines.size >= MAX_ENGINES) return null;
      engine = { marks: new Map(), evidence: new PrefixEvidence(), allocated: 0, released: 0 };
      this.#engines.set(key, engine);
    }
    return new PrefixUse(engine, start, Math.floor(MARKS_KEPT / this.#engines.size));
  }
}

/** One request's use of its engine's cache. */
export class PrefixUse {
  readonly evidence: PrefixEvidence;
  readonly #engine: EngineCache;
  readonly #start: PrefixStart;
  readonly #sharer: Sharer;
  /** Its own tokens in `allocated`. */
  #held = 0;
  #allocatedAtFirst: number | null = null;

  constructor(engine: EngineCache, start: PrefixStart, marksKept: number) {
    this.#engine = engine;
    this.evidence = engine.evidence;
    this.#start = start;
    const matches = start.print === null ? [] : findMatches(engine.marks, start.print);
    this.#sharer = { firstMs: null, streams: start.stream, isRefused: false, releasedBefore: null, matches };
    if (start.print !== null) remember(engine.marks, { print: start.print, sharer: this.#sharer, marksKept });
    // When an answer that does not stream was begun is not seen.
    if (!start.stream) this.#admit();
  }

  /** The first token of a stream came: its prompt is in the cache now. */
  firstToken(epochMs: number): void {
    if (this.#allocatedAtFirst !== null) return;
    this.#sharer.firstMs = epochMs;
    this.#admit();
  }

  /** The longest beginning nearer than `capacityTokens` that had been seen when this request's prefill began; null where there is none. */
  seen(capacityTokens: number, beganMs: number): SeenPrefix | null {
    const bytes = this.#start.print?.bytes ?? 0;
    const allocated = this.#allocatedAtFirst;
    if (allocated === null) return null;
    const cache = { allocated, capacityTokens, beganMs };
    const { matches } = this.#sharer;
    for (let index = matches.length - 1; index >= 0; index -= 1) {
      const match = matches[index] as Match;
      // One that was not computed yet may itself have begun like others that were.
      const found = isSeen(match.sharer, cache) ? match : findLastSeen(match.sharer.matches, cache);
      if (found === undefined) continue;
      const seenBytes = Math.min(match.bytes, found.bytes);
      return {
        part: seenBytes / bytes,
        newBytes: bytes - seenBytes,
        distanceTokens: distanceTo(found.sharer, allocated),
      };
    }
    return null;
  }

  /** The engine gave it up, `computed` prompt and output tokens being what it took in; `entered` false where its prompt was not computed. */
  end(computedTokens: number, entered: boolean): void {
    const engine = this.#engine;
    if (this.#allocatedAtFirst === null) this.#admit();
    engine.allocated += computedTokens - this.#held;
    this.#sharer.releasedBefore = engine.released;
    engine.released += computedTokens;
    this.#sharer.isRefused = !entered;
    if (!entered && this.#start.print !== null) forget(engine.marks, this.#start.print, this.#sharer);
    // Else each request would hold on to all before it.
    this.#sharer.matches = [];
  }

  #admit(): void {
    const expected = this.#expectedPart(this.#engine.allocated);
    this.#held = Math.round(this.#start.estimatedPromptTokens * (1 - expected));
    this.#engine.allocated += this.#held;
    this.#allocatedAtFirst = this.#engine.allocated;
  }

  /** Part of the prompt that needs no new room. */
  #expectedPart(allocated: number): number {
    const bytes = this.#start.print?.bytes ?? 0;
    const capacity = this.#engine.evidence.capacityTokens;
    const match = this.#sharer.matches.findLast(
      ({ sharer }) => (sharer.releasedBefore === null ? 0 : allocated - sharer.releasedBefore) < capacity,
    );
    return match === undefined ? 0 : match.bytes / bytes;
  }
}

/** Those of a deeper beginning come later. */
function findMatches(marks: ReadonlyMap<number, Sharer>, print: PromptPrint): readonly Match[] {
  const matches: Match[] = [];
  for (let index = 0; index < print.marks.length; index += 1) {
    const sharer = marks.get(print.marks[index] ?? 0);
    if (sharer === undefined) break;
    const last = matches.at(-1);
    const bytes = printEdges[index] ?? 0;
    if (last?.sharer === sharer) last.bytes = bytes;
    else matches.push({ bytes, sharer });
  }
  return matches;
}

function remember(
  marks: Map<number, Sharer>,
  use: { readonly print: PromptPrint; readonly sharer: Sharer; readonly marksKept: number },
): void {
  // Last first: of one prompt the tail is given up before the head, as engines do.
  for (let index = use.print.marks.length - 1; index >= 0; index -= 1) {
    const mark = use.print.marks[index] ?? 0;
    marks.delete(mark);
    marks.set(mark, use.sharer);
  }
  if (marks.size <= use.marksKept) return;
  const left = Math.floor(use.marksKept * (1 - FORGOTTEN_LOT));
  for (const mark of marks.keys()) {
    marks.delete(mark);
    if (marks.size <= left) return;
  }
}

/** The request did not bring its prompt into the cache: its marks are again those of who had them before. */
function forget(marks: Map<number, Sharer>, print: PromptPrint, sharer: Sharer): void {
  for (const [index, mark] of print.marks.entries()) {
    if (marks.get(mark) !== sharer) continue;
    const before = sharer.matches.find(({ bytes }) => bytes >= (printEdges[index] ?? 0));
    if (before === undefined) marks.delete(mark);
    else marks.set(mark, before.sharer);
  }
}

/** An engine's cache when a prefill began. */
interface CacheThen {
  readonly allocated: number;
  readonly capacityTokens: number;
  readonly beganMs: number;
}

/** A loop: once per request, and a function for it would be made each time. */
function findLastSeen(matches: readonly Match[], cache: CacheThen): Match | undefined {
  for (let index = matches.length - 1; index >= 0; index -= 1) {
    const match = matches[index] as Match;
    if (isSeen(match.sharer, cache)) return match;
  }
  return undefined;
}

function isSeen(sharer: Sharer, { allocated, capacityTokens, beganMs }: CacheThen): boolean {
  return isReady(sharer, beganMs) && distanceTo(sharer, allocated) < capacityTokens;
}

/** Tokens that the engine took in since the last use, when it has taken in `allocated`. */
function distanceTo({ releasedBefore }: Sharer, allocated: number): number {
  return releasedBefore === null ? 0 : Math.max(0, allocated - releasedBefore);
}

function isReady(sharer: Sharer, beganMs: number): boolean {
  if (sharer.isRefused) return false;
  if (sharer.firstMs !== null) return sharer.firstMs <= beganMs;
  return !sharer.streams;
}
