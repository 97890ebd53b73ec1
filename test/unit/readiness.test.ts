import { describe, expect, it } from 'vitest';
import { type ReadinessFacts, assessReadiness } from '#src/readiness.ts';

const READY: ReadinessFacts = {
  started: true,
  draining: false,
  storeUp: true,
  journalOk: true,
  stoppedBecause: null,
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
  ] as const)('says %s for %o', (status, facts) => {
    expect(assessReadiness({ ...READY, ...facts }).status).toBe(status);
  });
});
