// Which of several usable engines gets a request: the less loaded of two drawn at random, or the one that has seen its prefix before.
// Which engines are usable is replica-set.ts's.

/** What choosing needs to know of an engine. */
export interface Replica {
  /** Stable name: affinity follows it across processes. */
  readonly name: string;
  /** Capacity relative to the others, above 0. */
  readonly capacity: number;
  /** Estimated tokens in flight. */
  readonly work: number;
  readonly inFlight: number;
}

/** An engine is balanced up to this many times the mean number of requests per capacity. */
const BALANCE = 1.25;

/**
 * The one with less work per capacity of two different replicas, drawn with chances by capacity ("power of two choices", Mitzenmacher
 * 2001: nearly as even as looking at all, and gateways that do not know of each other do not all run to the same one). Equal work:
 * fewer requests, then chance by order of drawing. Undefined without candidates; `random` gives numbers in [0, 1).
 */
export function chooseLessLoaded<R extends Replica>(candidates: readonly R[], random: () => number): R | undefined {
  const first = draw(candidates, random);
  if (first === undefined || candidates.length === 1) return first;
  const second = draw(candidates, random, first);
  if (second === undefined) return first;
  const difference = first.work / first.capacity - second.work / second.capacity;
  if (difference !== 0) return difference < 0 ? first : second;
  return second.inFlight / second.capacity < first.inFlight / first.capacity ? second : first;
}

/**
 * The replica that owns a prefix by weighted rendezvous hashing (score = -capacity / ln u, u from the hash of prefix and name), or the next
 * in that order while the owner has more than 1.25 × the mean load, the new request included ("consistent hashing with bounded
 * loads", Mirrokni et al. 2016): adding or losing a replica moves only the prefixes of that one. Undefined without candidates.
 */
export function chooseByPrefix<R extends Replica>(candidates: readonly R[], prefixHash: number): R | undefined {
  let requests = 1;
  let capacity = 0;
  for (const replica of candidates) {
    requests += replica.inFlight;
    capacity += replica.capacity;
  }
  let best: R | undefined;
  let bestScore = 0;
  for (const replica of candidates) {
    const bound = Math.ceil((BALANCE * requests * replica.capacity) / capacity);
    if (replica.inFlight + 1 > bound) continue;
    const score = -replica.capacity / Math.log(toUnit(mix(prefixHash ^ hashText(replica.name))));
    if (score > bestScore) {
      best = replica;
      bestScore = score;
    }
  }
  return best;
}

/** FNV-1a over bytes, unsigned 32 bits: the same in every process. */
export function hashBytes(bytes: Uint8Array): number {
  let value = 0x811c9dc5;
  for (const byte of bytes) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}

function hashText(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}

/** Murmur3's finaliser: every bit of the input changes half of the output. */
function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Strictly between 0 and 1. */
function toUnit(value: number): number {
  return (value + 0.5) / 2 ** 32;
}

function draw<R extends Replica>(candidates: readonly R[], random: () => number, except?: R): R | undefined {
  let total = 0;
  for (const replica of candidates) if (replica !== except) total += replica.capacity;
  let left = random() * total;
  let last: R | undefined;
  for (const replica of candidates) {
    if (replica === except) continue;
    last = replica;
    left -= replica.capacity;
    if (left < 0) return replica;
  }
  return last;
}
