// The engine profile in the integers that money is computed with: femtoseconds, rounded once, decimal text in JSON.
// Not here: where a profile comes from (config, builtin-profile.ts).
import type { EngineProfile, ProfileFemtos } from '#domain/engine-profile.ts';

/** The five terms as integers of femtoseconds per unit (1 ms = 10^12 fs); `halfQ` is q/2. */
export interface ProfileCoefficients {
  readonly t0: bigint;
  readonly a: bigint;
  readonly halfQ: bigint;
  readonly d: bigint;
  readonly k: bigint;
}

/**
 * Rounds each term of a profile (ms) to integer femtoseconds, half up, once; q is halved before it is rounded.
 * Works on the shortest decimal text of each number, so 4.3 ms is exactly 4 300 000 000 000 fs on every machine.
 * Throws RangeError on a term that is negative or not finite. Source: settlement.md, Arithmetic.
 */
export function toProfileFemtos(profile: EngineProfile): ProfileFemtos {
  return {
    t0: toFemtos(profile.iterationMs, 1n).toString(),
    a: toFemtos(profile.prefillTokenMs, 1n).toString(),
    halfQ: toFemtos(profile.prefillContextMs, 2n).toString(),
    d: toFemtos(profile.decodeStepMs, 1n).toString(),
    k: toFemtos(profile.contextTokenMs, 1n).toString(),
  };
}

/** The profile in ms again, for estimates; exact to a femtosecond. */
export function fromProfileFemtos(femtos: ProfileFemtos): EngineProfile {
  const toMs = (text: string): number => Number(text) / 1e12;
  return {
    iterationMs: toMs(femtos.t0),
    prefillTokenMs: toMs(femtos.a),
    prefillContextMs: 2 * toMs(femtos.halfQ),
    decodeStepMs: toMs(femtos.d),
    contextTokenMs: toMs(femtos.k),
  };
}

/** Reads the decimal text of the fact book back into integers. Throws SyntaxError on text that is no integer. */
export function parseProfileFemtos(femtos: ProfileFemtos): ProfileCoefficients {
  return {
    t0: BigInt(femtos.t0),
    a: BigInt(femtos.a),
    halfQ: BigInt(femtos.halfQ),
    d: BigInt(femtos.d),
    k: BigInt(femtos.k),
  };
}

function toFemtos(termMs: number, divisor: bigint): bigint {
  const match = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(termMs));
  if (match === null) throw new RangeError(`a term of an engine profile must be a number of ms ≥ 0, not ${termMs}`);
  const fraction = match[2] ?? '';
  const digits = BigInt((match[1] ?? '') + fraction);
  const exponent = Number(match[3] ?? 0) + 12 - fraction.length;
  const numerator = exponent >= 0 ? digits * 10n ** BigInt(exponent) : digits;
  const denominator = exponent >= 0 ? divisor : divisor * 10n ** BigInt(-exponent);
  return (2n * numerator + denominator) / (2n * denominator);
}
