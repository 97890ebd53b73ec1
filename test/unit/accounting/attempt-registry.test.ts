// Memory of unsettled attempts is bounded, and what does not fit keeps its journal.
import { describe, expect, it } from 'vitest';
import { AttemptRegistry } from '#accounting/attempt-registry.ts';
import { trackUnsent } from '#accounting/tracked-attempt.ts';
import { createEnd, createStart } from '#test/support/accounting-bench.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

describe('attempt registry', () => {
  it('parks attempts beyond its limit in the journal and keeps their segment from deletion', () => {
    const time = createVirtualClock();
    const registry = new AttemptRegistry(2);
    for (const [index, segment] of [5, 6, 3, 4].entries()) {
      const { record } = createEnd(time, createStart(time, `r${index}`), { prompt: null, output: null });
      registry.add(trackUnsent({ ...record, profileSource: null }, segment));
    }
    expect(registry.size).toBe(2);
    expect(registry.parkedCount).toBe(2);
    expect(registry.oldestSegment()).toBe(3);
    expect([...registry.all()].map((attempt) => attempt.recordId)).toEqual(['r0.1', 'r1.1']);
  });
});
