// The profile that estimates of a deployment are made with. Not here: the integers that price windows (pool facts).
import type { EngineProfile, ProfileSource } from '#domain/engine-profile.ts';

/** A deployment's profile and where it came from. Must answer for every deployment that requests are sent to. */
export type ProfileOf = (deployment: string) => { readonly profile: EngineProfile; readonly source: ProfileSource };
