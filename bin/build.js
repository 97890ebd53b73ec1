// Compiles src to dist for the npm package and the image. Development runs src directly; nothing else needs this.
// tsc rewrites relative specifiers only, so the `#folder/file.ts` imports are made relative here, and the Lua, SQL and
// HTML files that sit beside the code are copied.
import { execFileSync } from 'node:child_process';
import { cpSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
rmSync(dist, { recursive: true, force: true });
execFileSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', join(root, 'tsconfig.build.json')], { stdio: 'inherit' });

const SUBPATH = /(['"])#([\w-]+)\/([\w./-]+)\.ts\1/g;
for (const file of globSync('**/*.js', { cwd: dist })) {
  const path = join(dist, file);
  const here = dirname(path);
  const rewritten = readFileSync(path, 'utf8').replaceAll(SUBPATH, (_match, quote, folder, rest) => {
    const target = relative(here, join(dist, folder === 'src' ? '' : folder, `${rest}.js`));
    return `${quote}${target.startsWith('.') ? target : `./${target}`}${quote}`;
  });
  writeFileSync(path, rewritten);
}
for (const file of globSync('**/*.{lua,sql,html,css}', { cwd: join(root, 'src') })) {
  cpSync(join(root, 'src', file), join(dist, file));
}
