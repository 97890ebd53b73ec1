// The profile that a deployment's work is estimated with and shown by: as configured, or as measured where the configuration declares none.
// Not here: the integers that price windows (pool facts), measuring (profile-learner.ts).
import { isDeclaredUnder } from '#attribution/prefill-factor.ts';
import { fromProfileFemtos, toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { EngineProfile, ProfileFemtos, ProfileSource } from '#domain/engine-profile.ts';
import { type DeploymentFacts, type FactBook, factsInForce } from '#domain/pool-facts.ts';

/** A deployment's profile, where it came from, and how well it is known. */
export interface DeploymentProfile {
  readonly profile: EngineProfile;
  readonly source: ProfileSource;
  /** Relative residual of the fit, 0 … 1; null or absent where nothing was fitted. */
  readonly fitError?: number | null;
  /** Windows or requests that the fit rests on; null or absent where nothing was fitted. */
  readonly samples?: number | null;
  /** Measured part of the declared prefill terms that counts, in `profile` already; null or absent where nothing was measured. */
  readonly prefillFactor?: number | null;
  /** True: the configuration wants its terms as they are. Default false. */
  readonly fixed?: boolean;
}

/** Must answer for every deployment that requests are sent to. */
export type ProfileOf = (deployment: string) => DeploymentProfile;

/** A measured profile outranks the built-in one, a measured part of prefill goes with the declared one it was measured of, and nothing else. */
export class ProfileBook {
  readonly #configured: ProfileOf;
  #measured: ReadonlyMap<string, DeploymentProfile> = new Map();
  #factored: ReadonlyMap<string, DeploymentFacts> = new Map();
  /** By deployment, what was made of which configured profile: asked for at every sealing. */
  readonly #scaled = new Map<string, { readonly of: DeploymentProfile; readonly profile: DeploymentProfile }>();
  #drifts: ReadonlyMap<string, number> = new Map();
  #version = -1;
  #takenAt = Number.NEGATIVE_INFINITY;
  /** First window in which the last version of the book holds. */
  #changesUntil = Number.NEGATIVE_INFINITY;

  constructor(configured: ProfileOf) {
    this.#configured = configured;
  }

  /** The profile in force as far as this process knows. */
  readonly of: ProfileOf = (deployment) => {
    const configured = this.#configured(deployment);
    if (configured.source === 'builtin') return this.#measured.get(deployment) ?? configured;
    return this.#withFactor(deployment, configured);
  };

  /** As configured, whatever was measured. */
  configured(deployment: string): DeploymentProfile {
    return this.#configured(deployment);
  }

  /** Real ÷ modelled time of the engine − 1, over the last minutes of busy windows; null where unknown. */
  driftOf(deployment: string): number | null {
    return this.#drifts.get(deployment) ?? null;
  }

  /** Replaces all drifts. */
  noteDrifts(drifts: ReadonlyMap<string, number>): void {
    this.#drifts = drifts;
  }

  /** Takes the measured profiles in force at a window from the store's fact book. Cheap where nothing changed. */
  take(book: FactBook, window: number): void {
    if (book.version === this.#version && this.#takenAt >= this.#changesUntil) return;
    this.#version = book.version;
    this.#takenAt = window;
    this.#changesUntil = Number.NEGATIVE_INFINITY;
    const measured = new Map<string, DeploymentProfile>();
    const factored = new Map<string, DeploymentFacts>();
    for (const [pool, versions] of Object.entries(book.pools)) {
      this.#changesUntil = Math.max(this.#changesUntil, versions.at(-1)?.effectiveFrom ?? window);
      const facts = factsInForce(book, pool, window);
      if (facts?.active !== true) continue;
      for (const [name, deployment] of Object.entries(facts.deployments)) {
        if (isMeasured(deployment)) measured.set(name, toProfile(deployment));
        else if (deployment.prefillFactor !== undefined) factored.set(name, deployment);
      }
    }
    this.#measured = measured;
    this.#factored = factored;
    this.#scaled.clear();
  }

  #withFactor(deployment: string, configured: DeploymentProfile): DeploymentProfile {
    const facts = this.#factored.get(deployment);
    if (facts === undefined) return configured;
    const known = this.#scaled.get(deployment);
    if (known?.of === configured) return known.profile;
    const holds = isDeclared(configured.source) && isDeclaredUnder(facts, toProfileFemtos(configured.profile));
    const profile = holds
      ? { ...configured, profile: fromProfileFemtos(facts.profile), prefillFactor: facts.prefillFactor ?? null }
      : configured;
    this.#scaled.set(deployment, { of: configured, profile });
    return profile;
  }
}

/** Learned from traffic or read from the engine, rather than said by the configuration. */
export function isMeasured({ profileSource }: Pick<DeploymentFacts, 'profileSource'>): boolean {
  return profileSource === 'learned' || profileSource === 'engine';
}

/** Said by the configuration, by hand or as `calibrate` wrote it. */
export function isDeclared(source: ProfileSource): boolean {
  return source === 'declared' || source === 'calibrated';
}

/** True where the terms in force are these declared ones, or a measured part of them, and may be measured. */
export function takesFactor(known: DeploymentFacts, declared: ProfileFemtos): boolean {
  return isDeclared(known.profileSource) && known.profileFixed !== true && isDeclaredUnder(known, declared);
}

function toProfile(facts: DeploymentFacts): DeploymentProfile {
  return {
    profile: fromProfileFemtos(facts.profile),
    source: facts.profileSource,
    fitError: facts.profileFitError,
    samples: facts.profileSamples ?? null,
  };
}
