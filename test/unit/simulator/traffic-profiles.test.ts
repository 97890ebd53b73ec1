// What a team's requests look like.
import { describe, expect, it } from 'vitest';
import { countTokens } from '#simulator/pseudo-text.ts';
import { createSeededRandom } from '#simulator/seeded-random.ts';
import { planRequest, trafficProfiles } from '#simulator/traffic-profiles.ts';
import type { TrafficProfileName } from '#simulator/traffic-profiles.ts';

function planMany(
  profile: TrafficProfileName,
  overrides: { outputScale?: number; abortShare?: number; seed?: number } = {},
) {
  const random = createSeededRandom(overrides.seed ?? 1);
  const team = { seed: 4, outputScale: 1, promptScale: 1, abortShare: 0, ...overrides };
  return Array.from({ length: 300 }, () => planRequest(trafficProfiles[profile], random, { ...team, seed: 4 }));
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('planRequest', () => {
  it.each(['chat', 'rag', 'batch', 'code'] as const)('%s has the lengths and the streaming of its profile', (name) => {
    const profile = trafficProfiles[name];
    const plans = planMany(name);
    const prompts = plans.map((plan) => countTokens(plan.systemPrompt) + countTokens(plan.prompt));
    expect(meanOf(prompts) / profile.promptTokens).toBeCloseTo(1, 1);
    expect(meanOf(plans.map((plan) => plan.outputTokens)) / profile.outputTokens).toBeCloseTo(1, 1);
    expect(meanOf(plans.map((plan) => Number(plan.stream)))).toBeCloseTo(profile.streamShare, 1);
  });

  it('all requests of a team share their system prompt, none their own text', () => {
    const plans = planMany('rag');
    expect(new Set(plans.map((plan) => plan.systemPrompt)).size).toBe(1);
    expect(new Set(plans.map((plan) => plan.prompt)).size).toBe(plans.length);
  });

  it('the output scale shortens answers only', () => {
    const [full, short] = [planMany('batch'), planMany('batch', { outputScale: 0.1 })];
    expect(short.map((plan) => plan.prompt)).toEqual(full.map((plan) => plan.prompt));
    expect(meanOf(short.map((plan) => plan.outputTokens))).toBeCloseTo(
      meanOf(full.map((plan) => plan.outputTokens)) / 10,
      0,
    );
  });

  it('only streams are hung up on, as often as asked, before their end', () => {
    const leaving = planMany('chat', { abortShare: 0.3 }).filter((plan) => plan.abortAfterChunks !== null);
    expect(leaving.length / 300).toBeCloseTo(0.3, 1);
    for (const plan of leaving) expect(plan.abortAfterChunks).toBeLessThanOrEqual(plan.outputTokens);
    expect(planMany('batch', { abortShare: 1 }).every((plan) => plan.abortAfterChunks === null)).toBe(true);
  });

  it('the same seed plans the same traffic, another seed another', () => {
    expect(planMany('code')).toEqual(planMany('code'));
    expect(planMany('code', { seed: 2 })).not.toEqual(planMany('code'));
  });
});
