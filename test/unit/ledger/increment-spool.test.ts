// What a scan puts aside by hour.
import { expect, it, onTestFinished } from 'vitest';
import { nameCell } from '#ledger/cell-sums.ts';
import { IncrementSpool } from '#ledger/increment-spool.ts';

it('sums of an hour come back by cell and pool, whatever line separators their names hold', async () => {
  const spool = new IncrementSpool({ from: 3600, to: 7200 });
  onTestFinished(() => spool.close());
  const cell = { team: 'a\u2028b', project: '\u2029', keyId: 'k\n', model: 'm', deployment: 'd' };
  const claim = {
    increments: [{ ...cell, hour: 3600, metrics: { requests: '2', costNanoUsd: '5' } }],
    pools: [{ hour: 3600, pool: 'p', nanoUsd: '5' }],
  };
  await spool.add(claim);
  await spool.add({ ...claim, pools: [{ hour: 7200, pool: 'p', nanoUsd: '9' }] });
  const { cells, claimed } = await spool.sum(3600);
  expect(cells).toEqual(new Map([[nameCell(cell), { requests: 4n, costNanoUsd: 10n }]]));
  expect(claimed).toEqual(new Map([['p', 5n]]));
  expect((await spool.sum(7200)).claimed).toEqual(new Map());
});
