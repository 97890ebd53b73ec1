// The short forms of test/soak: hang-ups by the hundred, malformed requests, many streams with dying engines. Nothing is left behind.
import { describe, expect, it } from 'vitest';
import { runAborts } from '#test/soak/run-aborts.ts';
import { runFuzz } from '#test/soak/run-fuzz.ts';
import { runSoak } from '#test/soak/run-soak.ts';

describe('endurance', () => {
  it('500 hang-ups at every stage: engines are let go, one record each, no descriptor and no memory left behind', async () => {
    const result = await runAborts({ aborts: 500, concurrency: 10, warmUp: 10 });
    expect(result.countedAll).toBe(500);
    expect([result.inFlight, result.openAtEngine]).toEqual([0, 0]);
    expect(result.descriptorsAfter).toBeLessThanOrEqual(result.descriptorsBefore + 10);
    expect(result.residentBytesAfter).toBeLessThan(result.residentBytesBefore + 100e6);
    // Half of all within the 100 ms that are promised, however busy the machine that runs the tests.
    expect(result.letGoMs.p50).toBeLessThan(100);
  });

  it('600 malformed requests: each is answered or closed, none crashes, none that passed authentication lacks its record', async () => {
    const result = await runFuzz({ seed: 20_261_123, first: 0, cases: 600, concurrency: 20 });
    expect(result.problems).toEqual([]);
    expect(result.records).toBeGreaterThan(100);
    expect(result.engineRequests).toBeGreaterThan(10);
    expect(result.residentBytesAfter).toBeLessThan(result.residentBytesBefore + 100e6);
    expect(result.descriptorsAfter).toBeLessThanOrEqual(result.descriptorsBefore + 20);
  });

  it('twenty seconds of streams, hang-ups and dying engines: books exact, tokens as the engines counted them', async () => {
    const result = await runSoak({ seconds: 20, streams: 30, seed: 7, restartEverySeconds: 5 });
    expect(result.problems).toEqual([]);
    expect(result.engineRestarts).toBeGreaterThanOrEqual(3);
    expect(result.completed).toBeGreaterThan(30);
    expect(result.aborted).toBeGreaterThan(5);
    expect(result.tokensRecorded).toBe(result.tokensOfEngines);
    expect(result.differenceNanoUsd).toBe('0');
    expect(result.descriptorsAfter).toBeLessThanOrEqual(result.descriptorsBefore + 20);
  });
});
