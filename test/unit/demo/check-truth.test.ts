import { describe, expect, it } from 'vitest';
import { checkTruth, findUnserved } from '#src/demo/check-truth.ts';

describe('the check against the truth', () => {
  it('sums the true GPU time of each team over engines and GPUs', () => {
    const checks = checkTruth({
      charged: new Map([
        ['search', 2.1],
        ['idle-team', 0],
      ]),
      engines: [
        {
          gpus: 1,
          requests: [
            { requestId: 'r1', gpuTimeMs: 1000 },
            { requestId: 'unknown', gpuTimeMs: 5000 },
          ],
        },
        {
          gpus: 4,
          requests: [
            { requestId: 'r2', gpuTimeMs: 250 },
            { requestId: null, gpuTimeMs: 1 },
          ],
        },
      ],
      teamOfRequest: new Map([
        ['r1', 'search'],
        ['r2', 'search'],
      ]),
    });
    expect(checks).toEqual([
      { team: 'idle-team', chargedGpuSeconds: 0, trueGpuSeconds: 0, error: 0 },
      { team: 'search', chargedGpuSeconds: 2.1, trueGpuSeconds: 2, error: expect.closeTo(0.05, 10) },
    ]);
  });

  it('a team that was charged for nothing, or not charged at all, is off by everything', () => {
    const [charged, forgotten] = checkTruth({
      charged: new Map([['a', 1]]),
      engines: [{ gpus: 1, requests: [{ requestId: 'r', gpuTimeMs: 1000 }] }],
      teamOfRequest: new Map([['r', 'b']]),
    });
    expect(charged?.error).toBe(Number.POSITIVE_INFINITY);
    expect(forgotten?.error).toBe(-1);
  });

  it('a team that no engine served is told, charged or not', () => {
    const check = { chargedGpuSeconds: 1, trueGpuSeconds: 1, error: 0 };
    const checks = [
      { ...check, team: 'search' },
      { ...check, team: 'codegen', trueGpuSeconds: 0 },
    ];
    expect(findUnserved(checks, ['search', 'codegen', 'assistant'])).toEqual(['codegen', 'assistant']);
  });
});
