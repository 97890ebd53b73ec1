// Which terms a deployment's work is estimated with and shown by: those in force for what this process's configuration declares.
import { expect, test } from 'vitest';
import { type DeploymentProfile, ProfileBook } from '#accounting/profile-of.ts';
import { scalePrefill } from '#attribution/prefill-factor.ts';
import { fromProfileFemtos } from '#attribution/profile-femtos.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const NAME = 'llama-8b';
const declared = fromProfileFemtos(DEPLOYMENT_FACTS.profile);
const factored = {
  ...DEPLOYMENT_FACTS,
  profile: scalePrefill(DEPLOYMENT_FACTS.profile, 0.8),
  prefillFactor: 0.8,
};

function bookWith(...versions: readonly (readonly [from: number, facts: typeof DEPLOYMENT_FACTS])[]): FactBook {
  const facts = versions.map(([effectiveFrom, deployment]) =>
    createPoolFacts({ effectiveFrom, deployments: { [NAME]: deployment } }),
  );
  return { version: versions.length, pools: { 'pool-a': facts } };
}

test('a measured part of prefill is in the terms of a declared profile from the window on in which it prices, and gone with it', () => {
  const configured: DeploymentProfile = { profile: declared, source: 'declared', fitError: null };
  const profiles = new ProfileBook(() => configured);
  const book = bookWith([0, DEPLOYMENT_FACTS], [100, factored]);
  profiles.take(book, 99);
  expect(profiles.of(NAME)).toEqual(configured);
  profiles.take(book, 100);
  const scaled = { ...configured, profile: fromProfileFemtos(factored.profile), prefillFactor: 0.8 };
  expect(profiles.of(NAME)).toEqual(scaled);
  expect(profiles.of(NAME)).toBe(profiles.of(NAME));
  profiles.take(bookWith([0, DEPLOYMENT_FACTS], [100, factored], [200, DEPLOYMENT_FACTS]), 200);
  expect(profiles.of(NAME)).toEqual(configured);
});

test('terms that were declared anew are used as they are, whatever part of the old ones was measured', () => {
  let configured: DeploymentProfile = { profile: declared, source: 'declared' };
  const profiles = new ProfileBook(() => configured);
  profiles.take(bookWith([0, factored]), 5);
  expect(profiles.of(NAME).prefillFactor).toBe(0.8);
  configured = { profile: { ...declared, iterationMs: 5 }, source: 'declared' };
  expect(profiles.of(NAME)).toEqual(configured);
});
