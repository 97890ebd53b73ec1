// The Dockerfile, judged without a container engine: the public validator, then the promises of the image.
import { validate } from 'dockerfile-utils';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const text = readFileSync(`${ROOT}Dockerfile`, 'utf8');
const stages = splitStages();
const runtime = stages.at(-1) ?? [];

/** Instructions of each stage as [keyword, arguments] on one line; what stands before the first FROM is left out. */
function splitStages(): [string, string][][] {
  const all: [string, string][][] = [];
  const lines = text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  for (const line of lines.filter((candidate) => candidate !== '')) {
    const [keyword = '', ...rest] = line.split(' ');
    if (keyword === 'FROM') all.push([]);
    all.at(-1)?.push([keyword, rest.join(' ')]);
  }
  return all;
}

const argumentsOf = (stage: [string, string][], keyword: string) =>
  stage.filter(([name]) => name === keyword).map(([, rest]) => rest);

test('the validator finds nothing, and can find something', () => {
  expect(validate(text).map((diagnostic) => diagnostic.message)).toEqual([]);
  expect(validate('FROM\nRUNN x\n')).not.toEqual([]);
});

test('the image runs the Node version that package.json depends on', () => {
  const { dependencies } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as {
    dependencies: Record<string, string>;
  };
  expect(/^ARG NODE_VERSION=(.+)$/m.exec(text)?.[1]).toBe(dependencies['node']);
  expect(argumentsOf(runtime, 'COPY')).toContain('--from=build /usr/local/bin/node /usr/local/bin/node');
});

test('every library that the Node binary links to is in slim Debian or installed', () => {
  // What each comes from in Debian 12; libc6 and libgcc-s1 are in every Debian image.
  const packages: Readonly<Record<string, string>> = { atomic: 'libatomic1', 'stdc++': 'libstdc++6' };
  const ofTheBase = /^(c|m|dl|pthread|rt|gcc_s)$/;
  const linked = [...execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).matchAll(/^\s*lib([\w+]+)\.so/gm)];
  const names = linked.map(([, name]) => name ?? '').filter((name) => !ofTheBase.test(name));
  expect(names.length).toBeGreaterThan(0);
  const installed = argumentsOf(runtime, 'RUN').join(' ').split(/\s+/);
  for (const name of names) expect(installed, `lib${name}`).toContain(packages[name]);
});

test('compilers and development packages stay behind: the last stage starts from slim Debian and copies', () => {
  expect(stages.length).toBe(3);
  expect(argumentsOf(runtime, 'FROM')[0]).toBe('debian:bookworm-slim AS runtime');
  expect(argumentsOf(stages[1] ?? [], 'RUN').join(' ')).toContain('npm ci --omit=dev');
  expect(argumentsOf(runtime, 'RUN').join(' ')).not.toMatch(/npm|gcc|build-essential/);
  expect(argumentsOf(runtime, 'RUN').join(' ')).toContain('rm -rf /var/lib/apt/lists/*');
});

test('dependencies are those of the lockfile, and no package runs a script while the image is built', () => {
  for (const command of stages.flatMap((stage) => argumentsOf(stage, 'RUN'))) {
    expect(command).not.toMatch(/npm (install|i)\b/);
    if (command.includes('npm ci')) expect(command).toContain('--ignore-scripts');
  }
});

test('it does not run as root, and signals reach it', () => {
  expect(argumentsOf(runtime, 'USER')).toEqual(['10001:10001']);
  expect(JSON.parse(argumentsOf(runtime, 'ENTRYPOINT')[0] ?? '')).toEqual([
    '/usr/bin/tini',
    '--',
    'node',
    '/app/bin/inferometer.js',
  ]);
  expect(JSON.parse(argumentsOf(runtime, 'CMD')[0] ?? '')).toEqual(['serve']);
});

test('its data folder belongs to its user and outlives the container', () => {
  expect(argumentsOf(runtime, 'VOLUME')[0]).toBe('["/var/lib/inferometer"]');
  expect(argumentsOf(runtime, 'RUN').join(' ')).toContain(
    '--owner inferometer --group inferometer --mode 0750 /var/lib/inferometer',
  );
});

test('the health check asks /readyz', () => {
  const check = argumentsOf(runtime, 'HEALTHCHECK')[0] ?? '';
  expect(check).toContain('http://127.0.0.1:8080/readyz');
  expect(check).toContain('/app/config/compose/healthcheck.js');
});

test('every file it copies from the checkout is there and is not ignored', () => {
  const ignored = readFileSync(`${ROOT}.dockerignore`, 'utf8').split('\n');
  const sources = stages
    .flatMap((stage) => argumentsOf(stage, 'COPY'))
    .filter((rest) => !rest.startsWith('--from='))
    .flatMap((rest) => rest.split(/\s+/).slice(0, -1));
  expect(sources).toContain('package-lock.json');
  for (const source of sources) {
    expect(existsSync(ROOT + source), source).toBe(true);
    expect(ignored.includes(`!${source}`), `${source} in .dockerignore`).toBe(true);
  }
  // The list is one of exceptions: a new secret file in the folder is left out by itself.
  expect(ignored).toContain('*');
});
