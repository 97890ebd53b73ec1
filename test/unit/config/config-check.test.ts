import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runConfigCheck } from '#config/config-check.ts';
import { createFolder, MINIMAL, NOW_MS } from './config-file.ts';

function check(
  text: string,
  json: boolean,
): { readonly code: number; readonly out: string; readonly err: string; readonly path: string } {
  const path = join(createFolder(), 'c.yaml');
  writeFileSync(path, text);
  let out = '';
  let err = '';
  const code = runConfigCheck({
    path,
    env: {},
    json,
    nowMs: NOW_MS,
    out: (part) => void (out += part),
    err: (part) => void (err += part),
  });
  return { code, out, err, path };
}

test('a valid file answers ok with its warnings and exit code 0', () => {
  const { code, out, err } = check(`${MINIMAL}tenancy: { authentication: [keys, jwt] }\n`, true);
  expect(code).toBe(0);
  expect(err).toBe('');
  expect(JSON.parse(out)).toMatchObject({
    ok: true,
    problems: [],
    warnings: [{ line: 12, path: 'tenancy.authentication' }],
  });
});

test('a broken file answers with file, line, path and message of each problem and exit code 2', () => {
  const { code, out, path } = check(`${MINIMAL}server: { port: x }\n`, true);
  expect(code).toBe(2);
  expect(JSON.parse(out)).toEqual({
    ok: false,
    problems: [
      { file: path, line: 12, path: 'server.port', message: 'expected a whole number from 0 to 65535, found "x"' },
    ],
  });
});

test('people get one line per problem on stderr, in the form editors jump to', () => {
  const { code, out, err, path } = check(`${MINIMAL}server: { port: x }\n`, false);
  expect(code).toBe(2);
  expect(out).toBe('');
  expect(err).toBe(
    `${path}:12: server.port: expected a whole number from 0 to 65535, found "x"\ninferometer: ${path} has 1 problem.\n`,
  );
});

test('people get a summary of a valid file', () => {
  expect(check(MINIMAL, false).out).toMatch(/is valid: 1 deployment, 1 price, 1 team, 0 warnings\.\n$/);
});
