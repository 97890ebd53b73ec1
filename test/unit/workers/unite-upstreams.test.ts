import { describe, expect, it } from 'vitest';
import { uniteUpstreams } from '#workers/unite-upstreams.ts';

const status = (upstream: string, healthy: boolean, inFlight: number) => ({
  deployment: 'd',
  upstream,
  healthy,
  inFlight,
});

describe('upstreams of several workers', () => {
  it('stand once, with the requests of all, and are healthy where every worker says so', () => {
    const united = uniteUpstreams([
      [status('a', true, 2), status('b', true, 0)],
      [status('a', true, 3), status('b', false, 1)],
    ]);
    expect(united).toEqual([status('a', true, 5), status('b', false, 1)]);
  });

  it('one that a single worker knows is as that one says', () => {
    expect(uniteUpstreams([[], [status('found', true, 1)]])).toEqual([status('found', true, 1)]);
    expect(uniteUpstreams([])).toEqual([]);
  });
});
