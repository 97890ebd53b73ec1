// A record's charges are the sums of its lines, in each hour and on each deployment's GPUs apart.
import { expect, it } from 'vitest';
import type { ChargeLine, SettledRecordJson } from '#domain/settlement.ts';
import { compareLines, RecordLines } from '#ledger/record-lines.ts';
import { RECORD } from '../observe/sample-record.ts';

const HOUR = 1_793_491_200;
const line = (costNanoUsd: string, change: Partial<ChargeLine> = {}): ChargeLine => ({
  recordId: RECORD.recordId,
  hour: HOUR,
  phase: 'decode',
  costNanoUsd,
  gpuMicros: '1',
  ...change,
});
const charge = { hour: HOUR, gpuMicros: '1', otherNanoUsd: '0', nanoUsdPerGpuHour: '1' };
const OWN = { ...charge, costNanoUsd: '600', prefillNanoUsd: '0', decodeNanoUsd: '600' };
const CTX = { ...charge, deployment: 'ctx', costNanoUsd: '300', prefillNanoUsd: '300', decodeNanoUsd: '0' };

function compare(charges: SettledRecordJson['charges'], lines: readonly ChargeLine[]) {
  const open = new RecordLines();
  for (const one of lines) open.add(one);
  return compareLines({ ...RECORD, charges }, open.take(RECORD.recordId));
}

const LINES = [line('600'), line('300', { deployment: 'ctx', phase: 'prefill' })];

it('equal sums on both deployments are sound', () => {
  expect(compare([OWN, CTX], LINES)).toBeNull();
});

it.each([
  ['money moved from one deployment to the other', [{ ...OWN, costNanoUsd: '601', decodeNanoUsd: '601' }, CTX]],
  ['a charge without its deployment', [{ ...OWN, costNanoUsd: '900', prefillNanoUsd: '300' }]],
  ['another deployment', [OWN, { ...CTX, deployment: 'other' }]],
  ['one deployment twice', [OWN, CTX, CTX]],
])('%s is found', (_name, charges) => {
  expect(compare(charges, LINES)).toMatchObject({ kind: 'line', id: RECORD.recordId });
});
