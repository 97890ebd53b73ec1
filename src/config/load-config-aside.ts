// Loads a config in a thread that ends with it: the YAML parser and the schemas take 10 MB, which a gateway needs when it starts and reloads
// only. What loading is stands in load-config.ts.
import { extname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { deepFreeze } from './deep-freeze.ts';
import type { LoadOptions, LoadResult } from './load-config.ts';

/** What `loadConfig` says; a thread that fails, or that the system has no room for, is a problem of the file. Never rejects. */
export async function loadConfigAside(options: LoadOptions): Promise<LoadResult> {
  // What crosses threads is copied, and a copy is not frozen.
  return deepFreeze(await runThread(options).catch((error: unknown) => refuse(options.path, reasonOf(error))));
}

async function runThread(options: LoadOptions): Promise<LoadResult> {
  // The sibling has this file's extension: .ts from source, .js once compiled.
  const file = new URL(`./load-config-thread${extname(fileURLToPath(import.meta.url))}`, import.meta.url);
  const { promise, resolve: tell, reject } = Promise.withResolvers<LoadResult>();
  const worker = new Worker(file, { workerData: { ...options, env: { ...options.env } } satisfies LoadOptions });
  worker.once('message', tell);
  worker.once('error', reject);
  worker.once('exit', (code) => tell(refuse(options.path, `exit code ${code}`)));
  const result = await promise;
  await worker.terminate();
  return result;
}

/** An error's message may quote what was read: only its code is told. */
function reasonOf(error: unknown): string {
  const { code, name } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : name;
}

function refuse(path: string, reason: string): LoadResult {
  const message = `cannot be loaded: ${reason}`;
  return { ok: false, problems: [{ file: path, line: 1, path: '', message }], files: [resolve(path)] };
}
