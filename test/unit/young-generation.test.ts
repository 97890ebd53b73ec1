// The young generation of a process of its own: small where little is done, large while it is busy, and never larger than it shall be.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const MIB = 1024 * 1024;

/**
 * Runs a script in a process of its own; returns what it prints as JSON. It can `read()` the MiB of one half, `work` so many kB a millisecond until `isDone` or for ten
 * seconds at most, and `rest()` as in a quiet minute.
 */
function run(script: string): unknown {
  const whole = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { setTimeout as delay } from 'node:timers/promises';
    import { settleYoungGeneration } from '#src/young-generation.ts';
    const read = () => {
      const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
      return Math.round((young.space_used_size + young.space_available_size) / ${MIB});
    };
    let alive = [];
    const work = async (kilobytesPerMs, isDone) => {
      const untilMs = performance.now() + 10_000;
      for (let atMs = performance.now(); atMs < untilMs && !isDone(); ) {
        await delay(1);
        const nowMs = performance.now();
        for (let i = 0; i < kilobytesPerMs * (nowMs - atMs); i += 1) alive.push(new Array(120).fill(i));
        if (alive.length > 3000) alive = [];
        atMs = nowMs;
      }
    };
    const forMs = (ms) => {
      const untilMs = performance.now() + ms;
      return () => performance.now() >= untilMs;
    };
    const rest = async () => {
      alive = [];
      for (let i = 0; i < 50 && read() >= 3; i += 1) {
        await delay(100);
        globalThis.gc();
      }
    };
    const print = (value) => console.log(JSON.stringify(value));
    ${script}`;
  const flags = ['--max-semi-space-size=32', '--expose-gc', '--input-type=module', '--eval'];
  return JSON.parse(execFileSync(process.execPath, [...flags, whole], { cwd: ROOT, encoding: 'utf8' }));
}

test('halves have 16 MiB while the process is busy and no more, and again after a quiet minute made them small', () => {
  const sizes = run(`
    settleYoungGeneration();
    const sizes = [];
    for (let round = 0; round < 2; round += 1) {
      await work(200, () => read() >= 12);
      await work(200, forMs(500));
      sizes.push(read());
      await rest();
      sizes.push(read() < 3);
    }
    print(sizes);`);
  expect(sizes).toEqual([16, true, 16, true]);
});

test('halves have no more than 8 MiB in a process that is not busy', () => {
  const size = run(`
    settleYoungGeneration();
    await work(10, () => read() >= 3);
    await work(10, forMs(1500));
    print(read());`);
  expect(size).toBeLessThanOrEqual(8);
});

test('left alone they would grow on', () => {
  const size = run(`
    for (let i = 1; i < 3_000_000; i += 1) {
      alive.push({ i });
      if (i % 400_000 === 0) alive = [];
    }
    print(read());`);
  expect(size).toBe(32);
});
