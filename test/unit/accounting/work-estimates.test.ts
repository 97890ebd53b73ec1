// What is assumed of prompts that nobody counted yet.
import { expect, it } from 'vitest';
import { WorkEstimates } from '#accounting/work-estimates.ts';

it('prompt tokens follow what engines count of a deployment', () => {
  const estimates = new WorkEstimates();
  expect(estimates.promptTokens('a', 4000)).toBe(1000);
  for (let request = 0; request < 200; request += 1) estimates.learnPrompt('a', 1000, 300);
  expect(estimates.promptTokens('a', 4000)).toBe(1200);
  expect(estimates.promptTokens('b', 4000)).toBe(1000);
});

it('no prompt is taken for more tokens than bytes: pictures beside a few words, or an absurd count, burden no text of others', () => {
  const estimates = new WorkEstimates();
  estimates.learnPrompt('a', 12, 30_000);
  expect(estimates.promptTokens('a', 4000)).toBeLessThanOrEqual(4000);
  for (let request = 0; request < 50; request += 1) estimates.learnPrompt('a', 1, 2 ** 31 - 1);
  expect(estimates.promptTokens('a', 4000)).toBeLessThanOrEqual(4000);
});
