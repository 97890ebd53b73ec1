// The version of this program, from its package.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Such as `0.1.0`; the package lies two folders above, in a checkout and in `dist` alike. */
export function readVersion(): string {
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
