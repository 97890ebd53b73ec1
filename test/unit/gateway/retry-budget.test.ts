import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RetryBudget } from '#gateway/retry-budget.ts';

/** How many retries are granted one after the other. */
function drain(budget: RetryBudget, nowMs: number, inFlight = 1): number {
  let granted = 0;
  while (granted < 10_000 && budget.tryRetry(nowMs, inFlight)) granted += 1;
  return granted;
}

describe('the retry budget', () => {
  it('is ten where there are few requests', () => {
    const budget = new RetryBudget();
    budget.countRequest(5000);
    expect(drain(budget, 5000)).toBe(10);
  });

  it('is a fifth of the requests of the last ten seconds', () => {
    const budget = new RetryBudget();
    for (let request = 0; request < 100; request += 1) budget.countRequest(request * 90);
    expect(drain(budget, 9000)).toBe(20);
  });

  it('is a fifth of the requests in flight where these are more: long answers began long ago', () => {
    const budget = new RetryBudget();
    for (let request = 0; request < 100; request += 1) budget.countRequest(0);
    expect(drain(budget, 30_000, 100)).toBe(20);
  });

  it('forgets requests and retries after ten seconds', () => {
    const budget = new RetryBudget();
    for (let request = 0; request < 100; request += 1) budget.countRequest(0);
    expect(drain(budget, 9999)).toBe(20);
    expect(drain(budget, 10_000)).toBe(0);
    expect(drain(budget, 19_999)).toBe(10);
    expect(drain(budget, 1_000_000)).toBe(10);
  });

  it('never grants more than the greater of 10 and a fifth in any ten seconds', () => {
    const step = fc.record({ waitMs: fc.integer({ min: 0, max: 3000 }), retries: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const budget = new RetryBudget();
        const requests: number[] = [];
        const retries: number[] = [];
        let nowMs = 0;
        for (const { waitMs, retries: asks } of steps) {
          nowMs += waitMs;
          if (!asks) {
            budget.countRequest(nowMs);
            requests.push(nowMs);
          } else if (budget.tryRetry(nowMs, 0)) {
            retries.push(nowMs);
            // Slots are whole seconds: what is counted lies within the last ten of them.
            const from = (Math.floor(nowMs / 1000) - 9) * 1000;
            const recent = requests.filter((atMs) => atMs >= from).length;
            expect(retries.filter((atMs) => atMs >= from).length).toBeLessThanOrEqual(Math.max(10, recent / 5));
          }
        }
      }),
    );
  });
});
