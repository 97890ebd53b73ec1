// Compiles src to dist, or to the folder named, for the npm package and the image. Development runs src directly; the benchmark measures what
// is shipped.
// Types are erased by Node itself, as when src runs; `npm run check` checks them. tsc cannot emit here: it refuses to
// rewrite `#folder/file.ts` specifiers (TS2877). Lua, SQL and HTML files that sit beside the code are copied.
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [src, dist] = [join(root, 'src'), join(root, process.argv[2] ?? 'dist')];
rmSync(dist, { recursive: true, force: true });

const SPECIFIER = /((?:\bfrom|\bimport)\s*\(?\s*)(['"])(#[\w-]+\/|\.{1,2}\/)([\w./-]+)\.ts\2/g;
for (const file of globSync('**/*.ts', { cwd: src })) {
  const target = join(dist, file.replace(/\.ts$/, '.js'));
  const here = dirname(target);
  const code = stripTypeScriptTypes(readFileSync(join(src, file), 'utf8')).replaceAll(
    SPECIFIER,
    (_match, keyword, quote, folder, rest) => {
      if (folder.startsWith('.')) return `${keyword}${quote}${folder}${rest}.js${quote}`;
      const path = relative(here, join(dist, folder === '#src/' ? '' : folder.slice(1), `${rest}.js`));
      return `${keyword}${quote}${path.startsWith('.') ? path : `./${path}`}${quote}`;
    },
  );
  mkdirSync(here, { recursive: true });
  writeFileSync(target, code);
}
for (const file of globSync('**/*.{lua,sql,html,css}', { cwd: src })) {
  cpSync(join(src, file), join(dist, file));
}
