// Commands on the books of a store.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { runReport } from '#src/commands/report.ts';
import { withStore } from '#src/commands/with-store.ts';
import { MINIMAL } from '../config/config-file.ts';

it('a store that is not there is begun by no command that reads books, and stderr says where it was sought', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-with-store-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'inferometer.yaml');
  const database = join(folder, 'books', 'inferometer.db');
  writeFileSync(path, `store: { url: "sqlite:${database}" }\n${MINIMAL}`);
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  onTestFinished(() => stderr.mockRestore());
  const work = vi.fn<() => Promise<number>>(() => Promise.resolve(0));

  expect(await withStore({ name: 'ledger verify', path, env: {} }, work)).toBe(1);
  expect(stderr.mock.calls.join('')).toMatch(
    /^inferometer ledger verify: sqlite:.*inferometer\.db: there is no such store/,
  );
  expect(work).not.toHaveBeenCalled();
  expect(existsSync(join(folder, 'books'))).toBe(false);

  expect(await withStore({ name: 'ledger rebuild', path, env: {}, mayBegin: true }, work)).toBe(0);
  expect(await withStore({ name: 'ledger verify', path, env: {} }, work)).toBe(0);
});

it('report --wait gives up on a store that cannot be reached after what was asked, not after its usual half minute', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-with-store-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'inferometer.yaml');
  writeFileSync(path, `store: { url: "redis://127.0.0.1:1/0" }\n${MINIMAL}`);
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  onTestFinished(() => stderr.mockRestore());

  const beganMs = performance.now();
  expect(await runReport({ path, env: {}, options: { wait: '300ms' } })).toBe(1);
  expect(performance.now() - beganMs).toBeLessThan(4000);
  expect(stderr.mock.calls.join('')).toMatch(
    /^inferometer report: redis:\/\/127\.0\.0\.1:1\/0: the store did not answer connect within 300 ms\n$/,
  );
});
