// What the windows of some deployments say of the terms that price them: a learned profile, or the part of declared prefill that counts. Pure.
// Not here: collecting windows (profile-learner.ts), making it hold (publish-profiles.ts).
import { fitProfile } from '#attribution/learn-fit.ts';
import { choosePrefillFactor, isWorthApplying } from '#attribution/learn-judge.ts';
import { fitPrefill } from '#attribution/learn-prefill.ts';
import { fromProfileFemtos, toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { DeploymentFacts } from '#domain/pool-facts.ts';
import type { LearnedGroup } from './learned-state.ts';
import { type DeploymentProfile, isDeclared, takesFactor } from './profile-of.ts';
import type { ProfileUpdate } from './publish-profiles.ts';

/** Null in both where what is in force should stay. */
export type ProfileDecision = Pick<ProfileUpdate, 'learned' | 'prefill'>;

const NOTHING: ProfileDecision = { learned: null, prefill: null };

/**
 * By the windows of a group, what this process's configuration has for each of its deployments, and the facts in force of the first. A declared
 * profile whose facts are not those of this configuration (another gateway was reloaded before) is left alone, and so is one that the configuration
 * fixes for any of them: they are one engine, whose windows could not be told apart by two sets of terms.
 */
export function decideProfile(
  group: LearnedGroup,
  members: readonly DeploymentProfile[],
  facts: DeploymentFacts,
): ProfileDecision {
  const [configured] = members;
  if (configured === undefined || members.some(({ fixed = false }) => fixed)) return NOTHING;
  if (configured.source === 'builtin') return { ...NOTHING, learned: decideLearned(group, configured, facts) };
  return isDeclared(configured.source) ? { ...NOTHING, prefill: decidePrefill(group, configured, facts) } : NOTHING;
}

function decideLearned(
  group: LearnedGroup,
  configured: DeploymentProfile,
  facts: DeploymentFacts,
): ProfileUpdate['learned'] {
  const isLearned = facts.profileSource === 'learned';
  if (!isLearned && facts.profileSource !== 'builtin') return null;
  const fit = fitProfile(group.grid, configured.profile);
  if (fit === null) return null;
  const inForce = { profile: fromProfileFemtos(facts.profile), isLearned, appliedAtSamples: group.appliedAtSamples };
  if (!isWorthApplying(fit, inForce, group)) return null;
  return { profile: toProfileFemtos(fit.profile), fitError: fit.fitError, samples: fit.samples };
}

function decidePrefill(
  group: LearnedGroup,
  configured: DeploymentProfile,
  facts: DeploymentFacts,
): ProfileUpdate['prefill'] {
  const declared = toProfileFemtos(configured.profile);
  if (!takesFactor(facts, declared)) return null;
  const fit = fitPrefill(group.grid, configured.profile);
  if (fit === null) return null;
  const inForce = { factor: facts.prefillFactor ?? 1, appliedAtSamples: group.appliedAtSamples };
  const { grid, samplesEver } = group;
  const factor = choosePrefillFactor(fit, inForce, { declared: configured.profile, grid, samplesEver });
  return factor === null ? null : { declared, factor, error: fit.error, samples: fit.samples };
}
