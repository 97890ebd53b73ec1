// Records of an archived day read back from its NDJSON file. Not here: writing it (record-sink.ts).
import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { splitExactly } from '#attribution/split-exactly.ts';
import { parseNanoUsd } from '#domain/nano-usd.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { formatDay } from './ledger-period.ts';
import { readLines } from './read-lines.ts';

const RECORDS_AT_ONCE = 1000;

type RecordLine = Omit<
  SettledRecordJson,
  'recordId' | 'lastAttempt' | 'pool' | 'startedAtMs' | 'endedAtMs' | 'charges'
> & {
  readonly startedAt: string;
  readonly endedAt: string;
  readonly tokens: SettledRecordJson['tokens'] & { readonly total?: unknown };
  readonly prefillNanoUsd: string;
  readonly decodeNanoUsd: string;
  readonly otherNanoUsd: string;
  readonly charges: readonly ChargeLine[];
};

interface ChargeLine {
  readonly hour: string;
  readonly deployment?: string;
  readonly gpuSeconds: number;
  readonly costNanoUsd: string;
  readonly usdPerGpuHour: string;
}

/** Up to 1000 at a time, in the order of the file; none where the day is only there as Parquet. */
export async function* readArchivedRecords(folder: string, day: number): AsyncGenerator<SettledRecordJson[]> {
  const names = [`records-${formatDay(day)}.ndjson`, `records-${formatDay(day)}.ndjson.gz`];
  const name = names.find((candidate) => existsSync(join(folder, candidate)));
  if (name === undefined) return;
  const file = createReadStream(join(folder, name));
  const input = name.endsWith('.gz') ? file.pipe(createGunzip()) : file;
  let records: SettledRecordJson[] = [];
  for await (const lines of readLines(input)) {
    for (const line of lines) {
      if (line !== '') records.push(toRecord(JSON.parse(line) as RecordLine));
      if (records.length < RECORDS_AT_ONCE) continue;
      yield records;
      records = [];
    }
  }
  if (records.length > 0) yield records;
}

/**
 * Figures are exact but for two things the contract's shape leaves out: how the phases of a record of several hours divide over them (here by
 * cost), and whether an attempt was retried (here: none).
 */
function toRecord(line: RecordLine): SettledRecordJson {
  const { startedAt, endedAt, tokens, charges, prefillNanoUsd, decodeNanoUsd, otherNanoUsd: _other, ...facts } = line;
  const { total: _, ...counts } = tokens;
  // Where the prompt was computed elsewhere, that phase is wholly there and the answer's wholly here.
  const isElsewhere = charges.some(({ deployment }) => deployment !== undefined);
  const divide = (amount: string, mayHold: (charge: ChargeLine) => boolean) => {
    const weights = charges.map((charge, i) => [String(i), mayHold(charge) ? BigInt(charge.costNanoUsd) : 0n] as const);
    const isFree = weights.every(([, weight]) => weight === 0n);
    return isFree ? new Map<string, bigint>() : splitExactly(BigInt(amount), weights);
  };
  const prefill = divide(prefillNanoUsd, ({ deployment }) => !isElsewhere || deployment !== undefined);
  const decode = divide(decodeNanoUsd, ({ deployment }) => deployment === undefined);
  const {
    requestId,
    attempt,
    costNanoUsd: _cost,
    gpuSeconds: _gpu,
    settled: _settled,
    ...rest
  } = facts as typeof facts & {
    readonly costNanoUsd?: unknown;
    readonly gpuSeconds?: unknown;
    readonly settled?: unknown;
  };
  return {
    ...rest,
    requestId,
    attempt,
    recordId: `${requestId}.${attempt}`,
    lastAttempt: true,
    pool: null,
    tokens: counts,
    startedAtMs: Date.parse(startedAt),
    endedAtMs: Date.parse(endedAt),
    charges: charges.map((charge, i) => {
      const [prefillPart, decodePart] = [prefill.get(String(i)) ?? 0n, decode.get(String(i)) ?? 0n];
      return {
        hour: Date.parse(charge.hour) / 1000,
        ...(charge.deployment === undefined ? {} : { deployment: charge.deployment }),
        gpuMicros: String(Math.round(charge.gpuSeconds * 1e6)),
        costNanoUsd: charge.costNanoUsd,
        prefillNanoUsd: String(prefillPart),
        decodeNanoUsd: String(decodePart),
        // What is left, so that the phases of each hour sum to its cost.
        otherNanoUsd: String(BigInt(charge.costNanoUsd) - prefillPart - decodePart),
        nanoUsdPerGpuHour: String(parseNanoUsd(charge.usdPerGpuHour)),
      };
    }),
  };
}
