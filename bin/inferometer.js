#!/usr/bin/env node
// Starts the CLI on the Node the package brings (npm package `node`), whatever Node the host has.
// A checkout runs src/main.ts directly; the npm package and the image run the compiled dist/main.js.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MIN_NODE_MAJOR = 26;
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
// The package and the image have no src; a checkout may have a dist that is older than it.
const entry = [join(root, 'src', 'main.ts'), join(root, 'dist', 'main.js')].find((path) => existsSync(path));

/** Path of the bundled runtime, or undefined where install scripts did not run. */
function bundledNode() {
  try {
    const path = join(dirname(createRequire(import.meta.url).resolve('node/package.json')), 'bin', 'node');
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

if (Number(process.versions.node.split('.')[0]) >= MIN_NODE_MAJOR && !process.env.INFEROMETER_BUNDLED_NODE) {
  await import(entry);
} else {
  const node = bundledNode();
  if (node === undefined) {
    process.stderr.write(
      `inferometer: needs Node ${MIN_NODE_MAJOR} or later, this is ${process.version}, and the package's own runtime is missing ` +
        '(install scripts were off). Run `npm rebuild node`, or install Node 26.\n',
    );
    process.exit(2);
  }
  const child = spawn(node, [entry, ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, INFEROMETER_BUNDLED_NODE: '' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + 15));
}
