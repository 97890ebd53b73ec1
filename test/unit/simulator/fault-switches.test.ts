// The language of faults.
import { describe, expect, it } from 'vitest';
import { UnknownFaultError, parseFaultSwitches } from '#simulator/fault-switches.ts';

describe('parseFaultSwitches', () => {
  it('reads every switch, in any order, with blanks', () => {
    expect(
      parseFaultSwitches(
        'status=503, cut-after=3,no-done , no-usage,stall-after=0,garbage,error-200,half-chunk,error-event-after=2,' +
          'delay-headers=50,usage-zero,tokens=9',
      ),
    ).toEqual({
      status: 503,
      cutAfter: 3,
      noDone: true,
      noUsage: true,
      stallAfter: 0,
      garbage: true,
      error200: true,
      halfChunk: true,
      errorEventAfter: 2,
      delayHeadersMs: 50,
      usageZero: true,
      tokens: 9,
    });
    expect(parseFaultSwitches('')).toEqual({});
  });

  it.each(['nonsense', 'status', 'status=x', 'no-done=1', 'cut-after=-1', 'constructor=1'])('refuses "%s"', (text) => {
    expect(() => parseFaultSwitches(text)).toThrow(UnknownFaultError);
  });
});
