// Lives here: the simulator's reproducible randomness: one small generator and the distributions drawn from it.
// Not here: what is drawn (lengths, noise, arrivals); nothing in this file is fit for secrets.

/** A reproducible stream of random numbers: the same seed gives the same numbers on every machine. */
export interface SeededRandom {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal (mean 0, deviation 1). */
  normal(): number;
  /** Log-normal with the given arithmetic mean and coefficient of variation; `cv` 0 gives the mean itself. */
  logNormal(mean: number, cv: number): number;
  /** Exponential with the given mean: the gap between two arrivals of a Poisson process. */
  exponential(mean: number): number;
}

/**
 * Mixes integers into one well-spread 32-bit unsigned integer (murmur3's finaliser over a running state), so that
 * neighbouring seeds or indices give unrelated streams.
 */
export function mixSeed(...parts: readonly number[]): number {
  let state = 0x9e3779b9;
  for (const part of parts) {
    state = Math.imul(state ^ Math.trunc(part), 0x85ebca6b);
    state ^= state >>> 13;
    state = Math.imul(state, 0xc2b2ae35);
    state ^= state >>> 16;
  }
  return state >>> 0;
}

/** Starts a stream (mulberry32: 32 bits of state, ample for simulated traffic) at `seed`. */
export function createSeededRandom(seed: number): SeededRandom {
  let state = mixSeed(seed);
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  // Box and Muller; 1 − u keeps the logarithm away from zero.
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return {
    uniform,
    normal,
    logNormal(mean, cv) {
      const variance = Math.log(1 + cv * cv);
      return mean * Math.exp(Math.sqrt(variance) * normal() - variance / 2);
    },
    exponential: (mean) => -Math.log(1 - uniform()) * mean,
  };
}
