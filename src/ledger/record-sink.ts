// Where exported records go: NDJSON, gzipped or not. Parquet is in parquet-records.ts.
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { toSettledRecordJson } from '#reports/record-json.ts';

export interface RecordSink {
  add(record: SettledRecordJson): Promise<void>;
  /** Resolves when every byte is with the file system. */
  close(): Promise<void>;
}

/** One JSON object of contract §6 per line; waits while the file is behind. Rejects with the file system's error. */
export function createNdjsonSink(path: string, gzip: boolean): RecordSink {
  const file = createWriteStream(path);
  const target = gzip ? createGzip() : file;
  if (gzip) target.pipe(file);
  const written = finished(file);
  // Told by `add` or `close`, whichever comes first.
  written.catch(() => undefined);
  return {
    async add(record) {
      const line = `${JSON.stringify(toSettledRecordJson(record))}\n`;
      if (target.write(line)) return;
      await Promise.race([new Promise((resolve) => target.once('drain', resolve)), written]);
    },
    async close() {
      target.end();
      await written;
    },
  };
}
