import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ejection } from '#gateway/ejection.ts';

const LIMIT = 3;

/** No jitter, so that times are exact. */
const create = (): Ejection => new Ejection(() => 0);

function eject(ejection: Ejection, nowMs: number): number | null {
  let forMs: number | null = null;
  for (let failure = 0; failure < LIMIT; failure += 1) forMs = ejection.failed(nowMs, LIMIT);
  return forMs;
}

describe('an engine', () => {
  it('is ejected by as many failures in a row as the limit says, not earlier', () => {
    const ejection = create();
    expect([ejection.failed(0, LIMIT), ejection.failed(0, LIMIT)]).toEqual([null, null]);
    expect(ejection.state(0)).toBe('serving');
    expect(ejection.failed(0, LIMIT)).toBe(1000);
    expect(ejection.state(999)).toBe('ejected');
  });

  it('whose failures are interrupted by an answer starts counting again', () => {
    const ejection = create();
    for (let round = 0; round < 10; round += 1) {
      ejection.failed(0, LIMIT);
      ejection.failed(0, LIMIT);
      expect(ejection.succeeded(0)).toBe(false);
    }
    expect(ejection.state(0)).toBe('serving');
  });

  it('may be tried by one request at a time after its ejection', () => {
    const ejection = create();
    eject(ejection, 0);
    expect(ejection.state(1000)).toBe('trial');
    const giveBack = ejection.beginTrial();
    expect(ejection.state(1000)).toBe('trying');
    giveBack();
    expect(ejection.state(1000)).toBe('trial');
  });

  it('serves again after a trial that succeeded', () => {
    const ejection = create();
    eject(ejection, 0);
    const giveBack = ejection.beginTrial();
    expect(ejection.succeeded(1500)).toBe(true);
    giveBack();
    expect(ejection.state(1500)).toBe('serving');
    expect(ejection.failures).toBe(0);
  });

  it('is ejected for twice as long by each failed trial, at most for a minute', () => {
    const ejection = create();
    const lasted = [eject(ejection, 0)];
    let nowMs = lasted[0] ?? 0;
    for (let trial = 0; trial < 7; trial += 1) {
      const giveBack = ejection.beginTrial();
      const forMs = ejection.failed(nowMs, LIMIT);
      giveBack();
      lasted.push(forMs);
      expect(ejection.state(nowMs)).toBe('ejected');
      nowMs += forMs ?? 0;
    }
    expect(lasted).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  it('that relapses soon is ejected for longer, one that served for a minute starts anew', () => {
    const ejection = create();
    eject(ejection, 0);
    ejection.succeeded(1000);
    expect(eject(ejection, 2000)).toBe(2000);
    ejection.succeeded(4000);
    expect(eject(ejection, 64_001)).toBe(1000);
  });

  it('is not ejected for longer by the failures of requests it had before', () => {
    const ejection = create();
    eject(ejection, 0);
    expect(ejection.failed(500, LIMIT)).toBeNull();
    expect(ejection.state(1000)).toBe('trial');
  });

  it('keeps the trial of a new ejection when an old trial gives itself back', () => {
    const ejection = create();
    eject(ejection, 0);
    const old = ejection.beginTrial();
    ejection.failed(1000, LIMIT);
    const present = ejection.beginTrial();
    old();
    expect(ejection.state(3000)).toBe('trying');
    present();
    expect(ejection.state(3000)).toBe('trial');
  });

  it('is ejected up to a quarter longer by chance', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (chance) => {
        const forMs = eject(new Ejection(() => chance), 0) ?? 0;
        expect(forMs).toBeGreaterThanOrEqual(1000);
        expect(forMs).toBeLessThanOrEqual(1250);
      }),
    );
  });
});
