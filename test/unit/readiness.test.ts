import { describe, expect, it } from 'vitest';
import { type ReadinessFacts, assessReadiness, uniteReadiness } from '#src/readiness.ts';

const READY: ReadinessFacts = {
  started: true,
  draining: false,
  storeUp: true,
  journalOk: true,
  stoppedBecause: null,
  deployments: [{ name: 'a' }, { name: 'b' }],
  upstreams: [
    { deployment: 'a', healthy: true },
    { deployment: 'a', healthy: false },
    { deployment: 'b', healthy: null },
  ],
};

describe('readiness', () => {
  it('is ready while every deployment has an upstream that may be used', () => {
    expect(assessReadiness(READY)).toEqual({
      status: 'ready',
      checks: {
        config: 'ok',
        store: 'ok',
        journal: 'ok',
        upstreams: { a: { healthy: 1, total: 2 }, b: { healthy: 1, total: 1 } },
      },
    });
  });

  it.each([
    ['starting', { started: false, storeUp: false }],
    ['draining', { draining: true, journalOk: false }],
    ['unready', { journalOk: false }],
    ['degraded', { storeUp: false }],
    ['degraded', { stoppedBecause: 'another store' }],
    ['degraded', { upstreams: [{ deployment: 'a', healthy: false }] }],
    ['degraded', { deployments: [...READY.deployments, { name: 'without an address' }] }],
  ] as const)('says %s for %o', (status, facts) => {
    expect(assessReadiness({ ...READY, ...facts }).status).toBe(status);
  });
});

describe('readiness of several workers', () => {
  const answer = (facts: Partial<ReadinessFacts> = {}) => assessReadiness({ ...READY, ...facts });
  const starting = answer({ started: false, storeUp: false });
  const unwritable = answer({ journalOk: false });
  const lost = answer({ upstreams: [{ deployment: 'a', healthy: false }] });
  const now = { workers: 2, draining: false };

  it.each([
    ['ready', [answer(), answer()]],
    ['degraded', [answer()]],
    ['degraded', [answer(), starting]],
    ['degraded', [answer(), lost]],
    ['unready', [answer(), unwritable]],
    ['starting', [starting]],
    ['starting', []],
  ] as const)('is %s', (status, answers) => {
    expect(uniteReadiness(answers, now).status).toBe(status);
  });

  it('draining goes before everything else', () => {
    expect(uniteReadiness([unwritable], { ...now, draining: true }).status).toBe('draining');
  });

  it('an upstream counts as healthy where every worker says so, and the checks name how many serve', () => {
    const { checks } = uniteReadiness([answer(), lost, starting], { ...now, workers: 3 });
    expect(checks).toMatchObject({ upstreams: { a: { healthy: 0, total: 2 } }, workers: { serving: 2, total: 3 } });
  });
});
