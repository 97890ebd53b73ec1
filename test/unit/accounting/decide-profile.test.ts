// What the windows of deployments that share an engine lead to, by what each of them is configured to be.
import { expect, test } from 'vitest';
import { decideProfile } from '#accounting/decide-profile.ts';
import type { DeploymentProfile } from '#accounting/profile-of.ts';
import { sampleWindow } from '#attribution/learn-sample.ts';
import { addSample, createGrid } from '#attribution/learn-statistics.ts';
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { createEngineWindows } from '#test/support/engine-windows.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const profile: EngineProfile = {
  iterationMs: 9,
  prefillTokenMs: 0.03,
  prefillContextMs: 9e-7,
  decodeStepMs: 0.05,
  contextTokenMs: 4e-5,
};
const hiding = {
  ...profile,
  prefillTokenMs: profile.prefillTokenMs / 2,
  prefillContextMs: profile.prefillContextMs / 2,
};
const declared: DeploymentProfile = { profile, source: 'declared' };
const fixed: DeploymentProfile = { ...declared, fixed: true };

function decide(...members: readonly DeploymentProfile[]) {
  const grid = createGrid();
  const windows = createEngineWindows({ profile: hiding, batch: 48, count: 300, firstWindow: 0, seed: 3 });
  for (const { publication } of windows) {
    const sample = sampleWindow([publication], createPoolFacts());
    if (sample !== null) addSample(grid, sample);
  }
  const group = { engine: 'e', grid, samplesEver: 300, appliedAtSamples: 0, drift: null, lastWindow: 300 };
  return decideProfile(group, members, { ...DEPLOYMENT_FACTS, profile: toProfileFemtos(profile) });
}

test('a part of prefill is measured where all deployments of an engine are declared', () => {
  expect(decide(declared).prefill?.factor).toBeLessThan(0.8);
  expect(decide(declared, declared).prefill?.factor).toBeLessThan(0.8);
});

test('terms that one deployment of an engine fixes stay for all of it, whatever the names are', () => {
  expect(decide(declared, fixed)).toEqual({ learned: null, prefill: null });
  expect(decide(fixed, declared)).toEqual({ learned: null, prefill: null });
});
