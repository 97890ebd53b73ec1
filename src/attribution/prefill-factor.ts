// A declared profile whose prefill counts for a part of its time, in the integers that windows are priced with.
// Not here: how large that part is (learn-prefill.ts), when it comes into force (accounting/publish-profiles.ts).
import type { ProfileFemtos } from '#domain/engine-profile.ts';

/** No engine is taken to hide more: a smaller part says that the declared terms are wrong rather than hidden. */
export const PREFILL_FACTOR_MIN = 0.3;
const HUNDREDTHS = 100;

/** The factor as it is stored and priced by: a whole number of hundredths, 0.3 … 1. */
export function roundPrefillFactor(factor: number): number {
  return Math.min(1, Math.max(PREFILL_FACTOR_MIN, Math.round(factor * HUNDREDTHS) / HUNDREDTHS));
}

/**
 * The profile with both prefill terms times `factor`, rounded to hundredths before and each term to femtoseconds after, half up; undefined is 1.
 * Throws RangeError on a factor that is not finite.
 */
export function scalePrefill(profile: ProfileFemtos, factor: number | undefined): ProfileFemtos {
  if (factor === undefined) return profile;
  const hundredths = BigInt(Math.round(factor * HUNDREDTHS));
  const scale = (term: string): string =>
    ((2n * BigInt(term) * hundredths + BigInt(HUNDREDTHS)) / (2n * BigInt(HUNDREDTHS))).toString();
  return { ...profile, a: scale(profile.a), halfQ: scale(profile.halfQ) };
}

/** True where these terms are the declared ones under this factor: what is in force is what the configuration declares, and a measured part of it. */
export function isDeclaredUnder(
  inForce: { readonly profile: ProfileFemtos; readonly prefillFactor?: number },
  declared: ProfileFemtos,
): boolean {
  const expected = scalePrefill(declared, inForce.prefillFactor);
  const { t0, a, halfQ, d, k } = inForce.profile;
  return t0 === expected.t0 && a === expected.a && halfQ === expected.halfQ && d === expected.d && k === expected.k;
}
