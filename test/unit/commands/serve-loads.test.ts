// What the process of a gateway loads before it serves: every package costs each gateway its memory for good.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..', '..');

const SCRIPT = `
import { registerHooks } from 'node:module';
const urls = new Set();
registerHooks({ resolve(specifier, context, next) { const found = next(specifier, context); urls.add(found.url); return found; } });
await import('#src/commands/serve.ts');
await import('#src/compose.ts');
console.log(JSON.stringify({ urls: [...urls], builtins: process.moduleLoadList }));`;

/** Packages, files of src, and node's own modules that are there once the command and the composition are. */
let loaded: { packages: Set<string>; files: Set<string>; builtins: string[] };

beforeAll(() => {
  const out = execFileSync(process.execPath, ['--input-type=module', '--eval', SCRIPT], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  const { urls, builtins } = JSON.parse(out) as { urls: string[]; builtins: string[] };
  const find = (pattern: RegExp) => new Set(urls.flatMap((url) => pattern.exec(url)?.[1] ?? []));
  loaded = {
    packages: find(/\/node_modules\/((?:@[^/]+\/)?[^/]+)/),
    files: find(/\/src\/((?!.*node_modules).+)$/),
    builtins,
  };
});

describe('a gateway', () => {
  it('loads no package that serves another command, format or route', () => {
    for (const used of ['express', 'undici', 'pino', 'prom-client']) expect(loaded.packages).toContain(used);
    for (const unused of UNUSED) expect(loaded.packages, unused).not.toContain(unused);
  });

  it('loads no file of another command', () => {
    expect(loaded.files).toContain('compose.ts');
    const others = [...loaded.files].filter((file) => /^(calibrate|demo|grpc|ledger|simulator|workers)\//.test(file));
    expect(others).toEqual([]);
  });

  it("leaves node's own undici aside, which an import of node:http would load", () => {
    expect(loaded.builtins).toContain('NativeModule http');
    expect(loaded.builtins.filter((name) => name.includes('deps/undici'))).toEqual([]);
  });
});

const UNUSED = [
  '@grpc/grpc-js',
  '@huggingface/jinja',
  '@huggingface/tokenizers',
  '@opentelemetry/api',
  'cli-progress',
  'cli-table3',
  'csv-stringify',
  'http-proxy-middleware',
  'hyparquet-writer',
  'ioredis',
  'pino-pretty',
  'yaml',
  'zod',
];
