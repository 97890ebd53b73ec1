import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';

it('a checkout runs its sources also after a build, whose dist would be old one pull later; a package runs dist', () => {
  const root = mkdtempSync(join(tmpdir(), 'inferometer-launcher-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  cpSync(join(import.meta.dirname, '../../../bin/inferometer.js'), join(root, 'bin', 'inferometer.js'));
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  for (const entry of ['src/main.ts', 'dist/main.js']) {
    mkdirSync(join(root, entry, '..'), { recursive: true });
    writeFileSync(join(root, entry), `process.stdout.write('${entry}');`);
  }
  const run = (): string =>
    spawnSync(process.execPath, [join(root, 'bin', 'inferometer.js')], { encoding: 'utf8' }).stdout;
  expect(run()).toBe('src/main.ts');
  rmSync(join(root, 'src'), { recursive: true });
  expect(run()).toBe('dist/main.js');
});
