// Settled records as Parquet: one flat row each, money in INT64 nanodollars, tags and charges as JSON. Not here: which records.
import { appendFile, writeFile } from 'node:fs/promises';
import { ByteWriter, ParquetWriter, schemaFromColumnData, type ColumnSource } from 'hyparquet-writer';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { totalTokens } from '#domain/tokens.ts';
import { toSettledRecordJson } from '#reports/record-json.ts';
import type { RecordSink } from './record-sink.ts';

/** Rows of one row group: what is in memory at a time. */
const ROWS_PER_GROUP = 20_000;

interface Column {
  readonly name: string;
  readonly type: NonNullable<ColumnSource['type']>;
  readonly nullable: boolean;
  readonly read: (record: SettledRecordJson) => unknown;
}

const text = (name: keyof SettledRecordJson, nullable = false): Column => ({
  name,
  type: 'STRING',
  nullable,
  read: (record) => record[name] ?? undefined,
});
const whole = (name: string, read: (record: SettledRecordJson) => number | bigint | null): Column => ({
  name,
  type: 'INT64',
  nullable: true,
  read: (record) => {
    const value = read(record);
    return value === null ? undefined : BigInt(value);
  },
});
const sumOf = (name: 'gpuMicros' | 'costNanoUsd' | 'prefillNanoUsd' | 'decodeNanoUsd' | 'otherNanoUsd') =>
  whole(name, (record) => record.charges.reduce((sum, charge) => sum + BigInt(charge[name]), 0n));
const instant = (name: string, read: (record: SettledRecordJson) => number): Column => ({
  name,
  type: 'TIMESTAMP',
  nullable: false,
  read: (record) => new Date(Math.floor(read(record))),
});
const double = (name: 'timeToFirstTokenMs' | 'durationMs', nullable: boolean): Column => ({
  name,
  type: 'DOUBLE',
  nullable,
  read: (record) => record[name] ?? undefined,
});
const small = (name: 'attempt' | 'status' | 'clientRetry'): Column => ({
  name,
  type: 'INT32',
  nullable: false,
  read: (record) => record[name],
});

/** The names of contract §6, flat: `inputTokens` for `tokens.input`, `gpuMicros` for `gpuSeconds`. */
const COLUMNS: readonly Column[] = [
  text('requestId'),
  text('clientRequestId', true),
  small('attempt'),
  text('team'),
  text('project', true),
  text('keyId', true),
  text('user', true),
  { name: 'tags', type: 'STRING', nullable: false, read: (record) => JSON.stringify(record.tags) },
  text('requestedModel', true),
  text('model', true),
  text('deployment', true),
  text('upstream', true),
  text('route'),
  { name: 'stream', type: 'BOOLEAN', nullable: false, read: (record) => record.stream },
  instant('startedAt', (record) => record.startedAtMs),
  instant('endedAt', (record) => record.endedAtMs),
  double('timeToFirstTokenMs', true),
  double('durationMs', false),
  text('outcome'),
  small('status'),
  small('clientRetry'),
  whole('inputTokens', ({ tokens }) => tokens.input),
  whole('cachedInputTokens', ({ tokens }) => tokens.cachedInput),
  whole('outputTokens', ({ tokens }) => tokens.output),
  whole('reasoningTokens', ({ tokens }) => tokens.reasoning),
  whole('totalTokens', ({ tokens }) => totalTokens(tokens)),
  text('tokenSource'),
  sumOf('gpuMicros'),
  sumOf('costNanoUsd'),
  sumOf('prefillNanoUsd'),
  sumOf('decodeNanoUsd'),
  sumOf('otherNanoUsd'),
  {
    name: 'charges',
    type: 'STRING',
    nullable: false,
    read: (record) => JSON.stringify(toSettledRecordJson(record)['charges']),
  },
  text('profileSource', true),
  { name: 'late', type: 'BOOLEAN', nullable: true, read: (record) => record.late ?? undefined },
];

/** Writes a Parquet file of records; deterministic for the same records. Rejects with the file system's error. */
export async function createParquetSink(path: string): Promise<RecordSink> {
  await writeFile(path, '');
  const writer = new ByteWriter();
  const layout = COLUMNS.map(({ name, type, nullable }) => ({ name, type, nullable, data: [] }));
  const parquet = new ParquetWriter({
    writer,
    schema: schemaFromColumnData({ columnData: layout }),
    createdBy: 'inferometer',
  });
  let rows: SettledRecordJson[] = [];
  const writeGroup = () => {
    if (rows.length === 0) return;
    const columnData = COLUMNS.map(({ read, ...column }) => ({ ...column, data: rows.map(read) }));
    void parquet.write({ columnData, rowGroupSize: ROWS_PER_GROUP });
    rows = [];
  };
  const flush = async () => {
    await appendFile(path, new Uint8Array(writer.buffer, 0, writer.index));
    writer.index = 0;
  };
  return {
    async add(record) {
      rows.push(record);
      if (rows.length < ROWS_PER_GROUP) return;
      writeGroup();
      await flush();
    },
    async close() {
      writeGroup();
      void parquet.finish();
      await flush();
    },
  };
}
