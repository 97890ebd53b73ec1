// Whether a claim adds up: the same answer at once and in turns.
import { describe, expect, test } from 'vitest';
import type { Claim } from '#domain/settlement.ts';
import { claimBalances, claimBalancesInTurns } from '#store/check-claim.ts';

const DIMS = { team: 't', project: '', keyId: 'k', model: 'm', deployment: 'd' };

/** A claim of one nanodollar in each of so many lines. */
function claimOfLines(count: number): Claim {
  const total = String(count);
  const line = { recordId: 'r.1', hour: 3600, phase: 'decode', costNanoUsd: '1', gpuMicros: '2' } as const;
  return {
    k0: 1,
    k: 2,
    hash: 'h',
    totalNanoUsd: total,
    lines: Array.from({ length: count }, () => line),
    increments: [{ hour: 3600, ...DIMS, metrics: { costNanoUsd: total } }],
    pools: [{ hour: 3600, pool: 'p', nanoUsd: total }],
    records: [],
  };
}

async function expectBoth(claim: Claim, balances: boolean): Promise<void> {
  expect(claimBalances(claim)).toBe(balances);
  expect(await claimBalancesInTurns(claim)).toBe(balances);
}

describe('claim balances', () => {
  test.each([0, 1, 511, 512, 513, 2_000])('a claim of %d lines that adds up balances', async (count) => {
    await expectBoth(claimOfLines(count), true);
  });

  test('a line too many, wherever it stands, is noticed', async () => {
    const claim = claimOfLines(1_100);
    for (const at of [0, 511, 512, 1_099]) {
      const lines = claim.lines.map((line, index) => (index === at ? { ...line, costNanoUsd: '2' } : line));
      await expectBoth({ ...claim, lines }, false);
    }
  });

  test('an amount that is no integer of 18 digits never balances', async () => {
    const claim = claimOfLines(1_100);
    for (const costNanoUsd of ['1.0', '', '1e0', '0000000000000000001']) {
      await expectBoth({ ...claim, lines: claim.lines.with(600, { ...claim.lines[600]!, costNanoUsd }) }, false);
    }
  });

  test('pools, cells or a range of freezes that do not fit are noticed', async () => {
    const claim = claimOfLines(3);
    await expectBoth({ ...claim, pools: [] }, false);
    await expectBoth({ ...claim, increments: [] }, false);
    await expectBoth({ ...claim, totalNanoUsd: '4' }, false);
    await expectBoth({ ...claim, k: 0 }, false);
  });
});
