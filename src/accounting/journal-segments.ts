// Names of the journal's segment files. Not here: their content (journal.ts).
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const SEGMENT_NAME = /^segment-(\d{10})\.ndjson$/;

/** Path of a segment by its number, from 1. */
export function segmentPath(dir: string, number: number): string {
  return join(dir, `segment-${String(number).padStart(10, '0')}.ndjson`);
}

/** Numbers of the segments in a directory, ascending. */
export function listSegments(dir: string): number[] {
  return readdirSync(dir)
    .flatMap((name) => {
      const match = SEGMENT_NAME.exec(name);
      return match === null ? [] : [Number(match[1])];
    })
    .sort((a, b) => a - b);
}
