import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '#config/load-config.ts';
import { loadConfigAside } from '#config/load-config-aside.ts';
import { createFolder, MINIMAL, NOW_MS } from './config-file.ts';

/** A file of everything that a copy between threads could lose: variables, secret files, warnings. */
function writeConfig(text: string): string {
  const folder = createFolder();
  const path = join(folder, 'c.yaml');
  writeFileSync(join(folder, 'token'), 'a-token-from-a-file\n');
  writeFileSync(path, text);
  return path;
}

const FULL = `${MINIMAL}
admin: { host: 127.0.0.1, tokenFile: token }
logging: { level: "\${LEVEL}" }
tenancy: { authentication: [keys, jwt] }
`;

describe('a config loaded aside', () => {
  test.each([
    ['a valid file', FULL],
    ['a file with problems', 'server: { port: banana }\nlogging: { level: loud }\n'],
    ['a file that is no YAML', 'server: ['],
  ])('of %s is what loading it here gives', async (_, text) => {
    const options = { path: writeConfig(text), env: { LEVEL: 'warn', UNSET: undefined }, nowMs: NOW_MS };
    const here = loadConfig(options);
    expect(await loadConfigAside(options)).toEqual(here);
    expect(here.ok).toBe(text === FULL);
  });

  test('is frozen to its leaves', async () => {
    const loaded = await loadConfigAside({ path: writeConfig(MINIMAL), env: {}, nowMs: NOW_MS });
    expect(loaded.ok && Object.isFrozen(loaded.config.deployments[0]?.upstreams[0]?.headers)).toBe(true);
  });

  test('whose thread fails is a problem of the file, told without what was read', async () => {
    const path = writeConfig(MINIMAL.replace(':8000"', ':8000", proxy: env'));
    const env = { HTTP_PROXY: 'http://127.0.0.1:1', NO_PROXY: 5 as unknown as string };
    expect(() => loadConfig({ path, env })).toThrow(TypeError);
    expect(await loadConfigAside({ path, env })).toEqual({
      ok: false,
      problems: [{ file: path, line: 1, path: '', message: 'cannot be loaded: TypeError' }],
      files: [path],
    });
  });

  test('whose thread cannot be begun is a problem of the file too', async () => {
    const path = writeConfig(MINIMAL);
    // What no thread takes, as a system that is out of threads.
    const env = { HOME: (() => '') as unknown as string };
    expect(await loadConfigAside({ path, env })).toEqual({
      ok: false,
      problems: [{ file: path, line: 1, path: '', message: 'cannot be loaded: DataCloneError' }],
      files: [path],
    });
  });
});
