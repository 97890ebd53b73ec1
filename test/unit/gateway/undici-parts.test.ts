import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import * as undici from 'undici';
import { describe, expect, it } from 'vitest';
import * as parts from '#gateway/undici-parts.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

/** What a process says that loaded these parts and nothing else. */
function askAlone(expression: string): string {
  const script = `import { Pool, ProxyAgent } from '#gateway/undici-parts.ts'; import { createRequire } from 'node:module';
    const loaded = Object.keys(createRequire(import.meta.url).cache); console.log(${expression});`;
  return execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: ROOT,
    encoding: 'utf8',
  }).trim();
}

describe('the parts of undici', () => {
  it('are the classes that its index exports', () => {
    expect(parts.Pool).toBe(undici.Pool);
    expect(parts.ProxyAgent).toBe(undici.ProxyAgent);
    expect(parts.createConnector).toBe(undici.buildConnector);
  });

  it('know every way to send a request that those of the index know, without the index', () => {
    const ways = [];
    for (const name in undici.Dispatcher.prototype) ways.push(name);
    expect(ways).toContain('request');
    const alone = askAlone(
      'JSON.stringify((() => { const ways = []; for (const name in Pool.prototype) ways.push(name); return ways; })())',
    );
    expect(JSON.parse(alone)).toEqual(ways);
  });

  it('load neither fetch nor the index', () => {
    expect(askAlone(`loaded.filter((file) => /undici.(index|lib.web)/.test(file)).length`)).toBe('0');
    expect(askAlone(`loaded.some((file) => /undici.lib.dispatcher.pool/.test(file))`)).toBe('true');
  });
});
