// The young generation of a process of its own: as large after the start as it shall stay, whatever the start allocated.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const MIB = 1024 * 1024;

/** Runs a script that can `read()` the bytes of one half; returns what it prints as JSON. */
function run(script: string): unknown {
  const whole = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { setTimeout as delay } from 'node:timers/promises';
    import { settleYoungGeneration } from '#src/young-generation.ts';
    const read = () => {
      const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
      return young.space_used_size + young.space_available_size;
    };
    ${script}`;
  const flags = ['--max-semi-space-size=32', '--expose-gc', '--input-type=module', '--eval'];
  return JSON.parse(execFileSync(process.execPath, [...flags, whole], { cwd: ROOT, encoding: 'utf8' }));
}

/** Bytes of one half after the start, and after work of which much survives. */
function measure(settles: boolean): readonly [started: number, worked: number] {
  return run(`
    if (${settles}) settleYoungGeneration();
    const started = read();
    let alive = [];
    for (let i = 1; i < 3_000_000; i += 1) {
      alive.push({ i });
      if (i % 400_000 === 0) alive = [];
    }
    console.log(JSON.stringify([started, read()]));`) as [number, number];
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

test('made small in a quiet minute, they grow back to 16 MiB when there is work again, and no further', () => {
  const [quiet, worked] = run(`
    settleYoungGeneration();
    for (let i = 0; i < 50 && read() >= 8 * ${MIB}; i += 1) {
      await delay(100);
      globalThis.gc();
    }
    const quiet = read();
    let alive = [];
    const untilMs = Date.now() + 10_000;
    const grownMs = () => Date.now() + (read() < 12 * ${MIB} ? 10_000 : 500);
    for (let endMs = grownMs(); Date.now() < Math.min(endMs, untilMs); endMs = Math.min(endMs, grownMs())) {
      for (let i = 0; i < 20_000; i += 1) alive.push({ i });
      if (alive.length > 100_000) alive = [];
      await delay(1);
    }
    console.log(JSON.stringify([quiet, read()]));`) as [number, number];
  expect(quiet).toBeLessThan(8 * MIB);
  expect(Math.round(worked / MIB)).toBe(16);
});
