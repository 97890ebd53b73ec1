// Which books a host's journals name, whatever stands around it in their segments.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readHostEpochs } from '#accounting/host-epochs.ts';
import { type JournalEntry, LineEncoder } from '#accounting/journal-entry.ts';
import { segmentPath } from '#accounting/journal-segments.ts';

const head = (epoch: string | null): JournalEntry => ({
  t: 'head',
  atMs: 1,
  head: { journal: 'j', seq: 0, hash: '', sealedThrough: null, epoch },
});

/** A journal of those segments, from 1; a string is a damaged line. */
function writeJournal(root: string, name: string, segments: readonly (readonly (JournalEntry | string)[])[]): void {
  const dir = join(root, name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'identity.json'), '{}');
  const encoder = new LineEncoder();
  for (const [index, entries] of segments.entries()) {
    const lines = entries.map((entry) =>
      typeof entry === 'string' ? `${entry}\n` : encoder.encode(JSON.stringify(entry)).toString('utf8'),
    );
    writeFileSync(segmentPath(dir, index + 1), lines.join(''));
  }
}

const newRoot = () => mkdtempSync(join(tmpdir(), 'inferometer-epochs-'));

describe('the epochs of a host', () => {
  it('a host that never joined a store names none', () => {
    const root = newRoot();
    expect(readHostEpochs(join(root, 'nothing'))).toEqual(new Set());
    writeJournal(root, 'process-1', [[head(null)], []]);
    expect(readHostEpochs(root)).toEqual(new Set());
  });

  it('each journal names one: that of its newest segment, past what was written before it joined and past damage', () => {
    const root = newRoot();
    writeJournal(root, 'process-1', [[head('old')], [head('new')]]);
    writeJournal(root, 'process-2', [[head(null), 'torn', head('second'), head('third')], []]);
    expect(readHostEpochs(root)).toEqual(new Set(['new', 'second']));
  });
});
