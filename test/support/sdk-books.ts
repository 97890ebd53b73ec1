// What the gateway wrote down about a request against what the simulated engine knows of it, for the suites of the official SDKs.
import { expect } from 'vitest';
import type { RequestTruth, Simulator } from '#simulator/start-simulator.ts';
import { type TestStack, until } from './gateway.ts';

/** A record as `/api/requests` shows it, as far as these suites look. */
export interface RequestRow {
  readonly requestId: string;
  readonly attempt: number;
  readonly model: string;
  readonly route: string;
  readonly outcome: string;
  readonly status: number;
  readonly stream: boolean;
  readonly tokenSource: string;
  readonly timeToFirstTokenMs: number | null;
  readonly tokens: {
    readonly input: number | null;
    readonly cachedInput: number | null;
    readonly output: number | null;
    readonly reasoning: number | null;
    readonly total: number | null;
  };
  readonly costNanoUsd: string | null;
  readonly settled: boolean;
}

interface Report {
  readonly rows: readonly { readonly requests: number; readonly costNanoUsd: string }[];
  readonly pools: readonly { readonly chargedNanoUsd: string }[];
  readonly totals: { readonly differenceNanoUsd: string };
}

/** The books of one test stack. */
export class SdkBooks {
  readonly #stack: TestStack;
  readonly #seen = new Set<string>();

  constructor(stack: TestStack) {
    this.#stack = stack;
  }

  /** The record of a request, by the gateway's id for it; there must be exactly one, of one attempt. */
  async recordOf(requestId: string | null | undefined): Promise<RequestRow> {
    expect(requestId).toBeTruthy();
    let rows: readonly RequestRow[] = [];
    await until(`a record of ${requestId}`, async () => {
      rows = (await this.#stack.admin<{ requests: RequestRow[] }>(`/api/requests?requestId=${requestId}`)).requests;
      return rows.length > 0;
    });
    expect(rows.map(({ attempt }) => attempt)).toEqual([1]);
    this.#seen.add(requestId as string);
    return rows[0] as RequestRow;
  }

  /** What the engines know of the request; undefined where it reached none of them. Waits until the engine is done with it. */
  async truthOf(requestId: string): Promise<RequestTruth | undefined> {
    let truth: RequestTruth | undefined;
    await until(`the end of ${requestId} in its engine`, async () => {
      truth = findTruth(this.#stack.simulators, requestId);
      return truth === undefined || truth.finishedAtMs !== null;
    });
    return truth;
  }

  /** The record, whose tokens are what the engine knows to the last one, and reported by it. */
  async expectReported(requestId: string | null | undefined, route: string): Promise<RequestRow> {
    const row = await this.recordOf(requestId);
    const truth = await this.truthOf(row.requestId);
    expect(row).toMatchObject({ outcome: 'completed', status: 200, tokenSource: 'reported', route });
    const { input, cachedInput, output, reasoning, total } = row.tokens;
    expect((input ?? 0) + (cachedInput ?? 0)).toBe(truth?.promptTokens);
    expect((output ?? 0) + (reasoning ?? 0)).toBe(truth?.completionTokens);
    expect(total).toBe((truth?.promptTokens ?? 0) + (truth?.completionTokens ?? 0));
    // An engine may keep to itself what came from its cache; one that says it must be believed.
    if (cachedInput !== null && (truth?.cachedTokens ?? 0) > 0) expect([0, truth?.cachedTokens]).toContain(cachedInput);
    return row;
  }

  /** The record of a request that an engine refused: no tokens, and nothing of its GPU. */
  async expectRefused(requestId: string | null | undefined, status: number): Promise<RequestRow> {
    const row = await this.recordOf(requestId);
    expect(row).toMatchObject({ outcome: 'upstream_error', status, tokenSource: 'unknown' });
    expect(row.tokens.total).toBeNull();
    expect(await this.truthOf(row.requestId)).toBeUndefined();
    return row;
  }

  /** Waits until the books are settled; every request seen has its cost, one that generated a positive one, and nothing is missing. */
  async expectSettled(): Promise<void> {
    await this.#stack.settled(Date.now());
    for (const requestId of this.#seen) {
      const row = await this.recordOf(requestId);
      expect(row).toMatchObject({ settled: true, costNanoUsd: expect.stringMatching(/^\d+$/) });
      const work = findTruth(this.#stack.simulators, requestId)?.gpuTimeMs ?? 0;
      if (work > 0 && row.outcome === 'completed') expect(BigInt(row.costNanoUsd ?? '0')).toBeGreaterThan(0n);
    }
    const report = await this.#stack.admin<Report>('/api/reports/chargeback');
    expect(report.totals.differenceNanoUsd).toBe('0');
    const charged = report.pools.reduce((sum, pool) => sum + BigInt(pool.chargedNanoUsd), 0n);
    expect(report.rows.reduce((sum, row) => sum + BigInt(row.costNanoUsd), 0n)).toBe(charged);
  }
}

function findTruth(simulators: readonly Simulator[], requestId: string): RequestTruth | undefined {
  for (const simulator of simulators) {
    const found = simulator.truth().requests.find((request) => request.requestId === requestId);
    if (found !== undefined) return found;
  }
  return undefined;
}
