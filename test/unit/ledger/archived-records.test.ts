// Records read back from an archived day.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { readArchivedRecords } from '#ledger/archived-records.ts';
import { toSettledRecordJson } from '#reports/record-json.ts';
import { RECORD } from '../observe/sample-record.ts';

const DAY = Date.UTC(2026, 10, 22) / 1000;

async function readBack(record: SettledRecordJson): Promise<SettledRecordJson | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-archive-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'records-2026-11-22.ndjson'), `${JSON.stringify(toSettledRecordJson(record))}\n`);
  for await (const records of readArchivedRecords(folder, DAY)) return records[0];
  return undefined;
}

it('a record charged on two deployments comes back with each phase where it was, to the nanodollar', async () => {
  const charge = { gpuMicros: '1000', otherNanoUsd: '0', nanoUsdPerGpuHour: '2500000000' };
  const charges = [
    { ...charge, hour: DAY, costNanoUsd: '600', prefillNanoUsd: '0', decodeNanoUsd: '600' },
    {
      ...charge,
      hour: DAY,
      deployment: 'ctx',
      costNanoUsd: '307',
      prefillNanoUsd: '300',
      decodeNanoUsd: '0',
      otherNanoUsd: '7',
    },
  ];
  expect((await readBack({ ...RECORD, charges }))?.charges).toEqual(charges);
});

it('what callers chose to call themselves ends no line, whatever line separators it holds', async () => {
  const user = 'a\u2028b\u2029c\u0085d\r\ne';
  const read = await readBack({ ...RECORD, user, tags: { feature: user }, charges: [] });
  expect(read).toMatchObject({ user, tags: { feature: user } });
});
