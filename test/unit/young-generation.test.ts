// The young generation of a process of its own: as large after the start as it shall stay, whatever the start allocated.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const MIB = 1024 * 1024;

/** Bytes of one half after the start, and after work of which much survives. */
function measure(settles: boolean): readonly [started: number, worked: number] {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { settleYoungGeneration } from '#src/young-generation.ts';
    const read = () => {
      const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
      return young.space_used_size + young.space_available_size;
    };
    if (${settles}) settleYoungGeneration();
    const started = read();
    let alive = [];
    for (let i = 1; i < 3_000_000; i += 1) {
      alive.push({ i });
      if (i % 400_000 === 0) alive = [];
    }
    console.log(JSON.stringify([started, read()]));`;
  const text = execFileSync(process.execPath, ['--max-semi-space-size=32', '--input-type=module', '--eval', script], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return JSON.parse(text) as [number, number];
}

test('both halves have 16 MiB when the start is over, and keep them', () => {
  const [started, worked] = measure(true);
  expect(Math.round(started / MIB)).toBe(16);
  expect(Math.round(worked / MIB)).toBe(16);
});

test('left alone they would have begun small and grown on', () => {
  const [started, worked] = measure(false);
  expect(Math.round(started / MIB)).toBeLessThan(8);
  expect(Math.round(worked / MIB)).toBe(32);
});
