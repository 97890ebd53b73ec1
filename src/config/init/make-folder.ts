// Makes a folder and those above it, one by one. Node's own recursion never ends where a folder is there and takes none, such as /proc.
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Does nothing where it is there. Throws the system's error. */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  for (let folder = resolve(path); statSync(folder, { throwIfNoEntry: false }) === undefined; folder = dirname(folder))
    missing.push(folder);
  for (const folder of missing.toReversed()) mkdirSync(folder);
}
