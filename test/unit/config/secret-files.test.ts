import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '#config/load-config.ts';
import type { LoadResult } from '#config/load-config.ts';
import { createFolder, MINIMAL, NOW_MS } from './config-file.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';

function load(
  text: string,
  files: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>> = {},
): LoadResult {
  const folder = createFolder();
  mkdirSync(join(folder, 'secrets'));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  const path = join(folder, 'inferometer.yaml');
  writeFileSync(path, text);
  return loadConfig({ path, env, nowMs: NOW_MS });
}

const problems = (result: LoadResult): readonly string[] =>
  result.ok ? [] : result.problems.map(({ path, message }) => `${path}: ${message}`);

test('every secret may stand in a file, relative to the config, and is trimmed', () => {
  const text = `${MINIMAL.replace('key: 0123456789abcdef', 'keyFile: secrets/team').replace(
    'url: "http://127.0.0.1:8000"',
    'url: "https://x", apiKeyFile: "${SECRETS}/api", headers: { x-authFile: secrets/header }, tls: { caFile: ca.pem, cert: ca.pem, key: ca.pem }',
  )}
admin: { tokenFile: secrets/token, metricsTokenFile: secrets/token }
store: { urlFile: secrets/store }
`;
  const files = {
    'secrets/team': '0123456789abcdefgh\n',
    'secrets/api': '  upstream-key\n',
    'secrets/header': 'value\n',
    'secrets/token': 'admin-token\r\n',
    'secrets/store': 'redis://:pass@host:6379/0\n',
    'ca.pem': `${PEM}\n`,
  };
  const result = load(text, files, { SECRETS: 'secrets' });
  if (!result.ok) throw new Error(problems(result).join('\n'));
  const { config } = result;
  expect(config.teams[0]?.keys[0]?.key).toBe('0123456789abcdefgh');
  expect(config.admin).toMatchObject({ token: 'admin-token', metricsToken: 'admin-token' });
  expect(config.store.url).toBe('redis://:pass@host:6379/0');
  expect(config.deployments[0]?.upstreams[0]).toMatchObject({
    apiKey: 'upstream-key',
    headers: { 'x-auth': 'value' },
    tls: { ca: PEM, cert: PEM, key: PEM, serverName: '' },
  });
  expect(new Set(result.files.map((file) => file.split('/').at(-1)))).toEqual(
    new Set(['inferometer.yaml', 'team', 'api', 'header', 'token', 'store', 'ca.pem']),
  );
});

test('a key given both ways is a problem', () => {
  expect(problems(load(`${MINIMAL}admin: { token: a, tokenFile: f }\n`, { f: 'b' }))).toEqual([
    'admin.tokenFile: give either token or tokenFile, not both',
  ]);
});

test('a missing, an empty and an oversized file are problems that name the file and not its content', () => {
  expect(problems(load(`${MINIMAL}admin: { tokenFile: nowhere }\n`, {}))[0]).toMatch(
    /^admin\.tokenFile: cannot read .*nowhere: ENOENT$/,
  );
  expect(problems(load(`${MINIMAL}admin: { tokenFile: f }\n`, { f: ' \n' }))[0]).toMatch(/f is empty$/);
  expect(problems(load(`${MINIMAL}admin: { tokenFile: f }\n`, { f: 'x'.repeat(2 ** 20 + 1) }))[0]).toContain(
    'is larger than',
  );
  expect(problems(load(`${MINIMAL}admin: { tokenFile: f }\n`, { f: 'two words' }))).toEqual([
    'admin.token: expected a token without spaces or control characters',
  ]);
});

test('a PEM path that leads to something else is a problem', () => {
  expect(problems(load(`${MINIMAL}server: { tls: { cert: f, key: f } }\n`, { f: 'no pem' }))).toEqual([
    'server.tls.cert: expected PEM text, or the path of a PEM file',
    'server.tls.key: expected PEM text, or the path of a PEM file',
  ]);
});

test('a File key where no secret belongs stays unknown', () => {
  expect(problems(load(`${MINIMAL}server: { hostFile: f }\n`, { f: 'x' }))[0]).toMatch(
    /^server\.hostFile: unknown key/,
  );
});
