// The profile of each deployment, as accounting asks for it at every sealing. Not here: where profiles come from.
import { chooseProfile } from '#accounting/pool-facts-from-config.ts';
import type { ProfileOf } from '#accounting/profile-of.ts';
import type { Config } from '#config/config.ts';

/** Profiles by deployment, computed once per configuration. */
export function createProfileLookup(config: () => Config): ProfileOf {
  let seen: Config | undefined;
  let profiles = new Map<string, ReturnType<typeof chooseProfile>>();
  let last: ReturnType<typeof chooseProfile> | undefined;
  return (deployment: string): ReturnType<typeof chooseProfile> => {
    const current = config();
    if (seen !== current) {
      // A deployment that left the configuration may still have work to be sealed: keep what was known of it.
      for (const entry of current.deployments) profiles = profiles.set(entry.name, chooseProfile(entry));
      seen = current;
    }
    const found = profiles.get(deployment) ?? last;
    if (found !== undefined) last = found;
    return found ?? chooseProfile({ gpu: '', gpuMillionths: 1_000_000, models: [], servedModel: '', name: deployment });
  };
}
