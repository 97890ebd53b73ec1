import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Log } from '#domain/log.ts';
import type { Config } from '#config/config.ts';
import { loadConfig } from '#config/load-config.ts';
import { restartNeeded } from '#config/restart-needed.ts';
import { ConfigReloader } from '#config/watch-config.ts';
import { createFolder, loadValid, MINIMAL, NOW_MS } from './config-file.ts';

interface Bench {
  readonly reloader: ConfigReloader;
  readonly path: string;
  readonly write: (text: string) => void;
  readonly logged: readonly string[];
}

function createReloader(text: string, path = join(createFolder(), 'c.yaml')): Bench {
  const write = (next: string): void => writeFileSync(path, next);
  if (text !== '') write(text);
  const logged: string[] = [];
  const note =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>): void =>
      void logged.push(`${level} ${String(fields['event'])}`);
  const log: Log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
  const initial = loadConfig({ path, env: {}, nowMs: NOW_MS });
  if (!initial.ok) throw new Error('the first file must be valid');
  const reloader = new ConfigReloader({
    path,
    env: {},
    initial: initial.config,
    files: initial.files,
    log,
    load: loadConfig,
    now: () => NOW_MS,
  });
  return { reloader, path, write, logged };
}

describe('reload', () => {
  test('puts a changed file in force and tells the listeners the new and the old config', async () => {
    const { reloader, write } = createReloader(MINIMAL);
    const seen: [Config, Config][] = [];
    reloader.onChange((next, old) => void seen.push([next, old]));
    const before = reloader.current;
    write(MINIMAL.replace('llama-8b', 'llama-9b'));
    expect(await reloader.reload()).toMatchObject({ ok: true, changed: true, restartNeeded: [] });
    expect(reloader.current.deployments[0]?.models).toEqual(['llama-9b']);
    expect(seen).toEqual([[reloader.current, before]]);
  });

  test('of a bad file keeps the old config, says so, and recovers', async () => {
    const { reloader, write, logged } = createReloader(MINIMAL);
    const before = reloader.current;
    write(`${MINIMAL}server: { port: x }\n`);
    expect(await reloader.reload()).toMatchObject({ ok: false, problems: [{ path: 'server.port' }] });
    expect(reloader.current).toBe(before);
    expect(reloader.lastReloadSuccessful).toBe(false);
    expect(logged).toEqual(['error config_reload_refused']);
    write(MINIMAL);
    await reloader.reload();
    expect(reloader.lastReloadSuccessful).toBe(true);
  });

  test('asked for twice at once reads the file twice, one after the other, and the last read is in force', async () => {
    const { reloader, path, write } = createReloader(MINIMAL);
    const models = (name: string) => MINIMAL.replace('llama-8b', name);
    const reads: string[] = [];
    const first = Promise.withResolvers<void>();
    const slow = new ConfigReloader({
      path,
      env: {},
      initial: reloader.current,
      log: { debug() {}, info() {}, warn() {}, error() {} },
      load: async (options) => {
        const read = loadConfig({ ...options, nowMs: NOW_MS });
        reads.push(read.ok ? `${read.config.deployments[0]?.models[0]}` : 'refused');
        if (reads.length === 1) await first.promise;
        return read;
      },
    });
    write(models('llama-9b'));
    const both = [slow.reload(), slow.reload()];
    await new Promise(setImmediate);
    expect(reads).toEqual(['llama-9b']);
    write(models('llama-10b'));
    first.resolve();
    expect(await Promise.all(both)).toMatchObject([{ changed: true }, { changed: true }]);
    expect(reads).toEqual(['llama-9b', 'llama-10b']);
    expect(slow.current.deployments[0]?.models).toEqual(['llama-10b']);
  });

  test('asked for again and again reads the file once more for all who came during a read', async () => {
    const { reloader, path } = createReloader(MINIMAL);
    let reads = 0;
    const slow = new ConfigReloader({
      path,
      env: {},
      initial: reloader.current,
      log: { debug() {}, info() {}, warn() {}, error() {} },
      load: async (options) => {
        reads += 1;
        await new Promise(setImmediate);
        return loadConfig({ ...options, nowMs: NOW_MS });
      },
    });
    const results = await Promise.all(Array.from({ length: 50 }, () => slow.reload()));
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(reads).toBe(2);
    await slow.reload();
    expect(reads).toBe(3);
  });

  test('of an unchanged file tells nobody', async () => {
    const { reloader } = createReloader(MINIMAL);
    let calls = 0;
    reloader.onChange(() => void (calls += 1));
    expect(await reloader.reload()).toMatchObject({ ok: true, changed: false });
    expect(calls).toBe(0);
  });

  test('names keys that need a restart and keeps their running values', async () => {
    const { reloader, write } = createReloader(MINIMAL);
    write(
      `${MINIMAL.replace('2.50', '3')}server: { port: 9, maxBodyBytes: 7 }\nstore: { prefix: other }\nlogging: { format: pretty, level: warn }\n`,
    );
    const result = await reloader.reload();
    expect(result).toMatchObject({ ok: true, restartNeeded: ['server.port', 'store', 'logging'] });
    expect(reloader.current.server).toMatchObject({ port: 8080, maxBodyBytes: 7 });
    expect(reloader.current.store.prefix).toBe('inferometer');
    expect(reloader.current.logging).toMatchObject({ format: 'json', level: 'info' });
    expect(reloader.current.prices[0]?.usdPerGpuHour).toBe('3');
    expect(await reloader.reload()).toMatchObject({
      changed: false,
      restartNeeded: ['server.port', 'store', 'logging'],
    });
  });

  test('a listener that throws stops no other one, and one that was taken back hears nothing', async () => {
    const { reloader, write, logged } = createReloader(MINIMAL);
    const heard: string[] = [];
    reloader.onChange(() => {
      throw new Error('no');
    });
    reloader.onChange(() => void heard.push('second'));
    reloader.onChange(() => void heard.push('third'))();
    write(MINIMAL.replace('2.50', '3'));
    await reloader.reload();
    expect(heard).toEqual(['second']);
    expect(logged).toContain('error config_listener_failed');
  });
});

describe('watch', () => {
  const WATCHED = `${MINIMAL}watch: true\n`;

  test('looks at the file and reloads when it was replaced, once', async () => {
    const { reloader, path, write } = createReloader(WATCHED);
    reloader.start();
    expect(await reloader.poll()).toBeUndefined();
    writeFileSync(`${path}.new`, WATCHED.replace('2.50', '3'));
    renameSync(`${path}.new`, path);
    expect(await reloader.poll()).toMatchObject({ ok: true, changed: true });
    expect(await reloader.poll()).toBeUndefined();
    write(`${WATCHED}nonsense`);
    expect(await reloader.poll()).toMatchObject({ ok: false });
    expect(await reloader.poll()).toBeUndefined();
    reloader.stop();
  });

  test('follows a symlink of a folder that is swapped, as Kubernetes does', async () => {
    const folder = createFolder();
    for (const [version, usd] of [
      ['v1', '2.50'],
      ['v2', '4'],
    ] as const) {
      mkdirSync(join(folder, version));
      writeFileSync(join(folder, version, 'c.yaml'), WATCHED.replace('2.50', usd));
    }
    symlinkSync('v1', join(folder, '..data'));
    symlinkSync('..data/c.yaml', join(folder, 'c.yaml'));
    const { reloader } = createReloader('', join(folder, 'c.yaml'));
    reloader.start();
    expect(await reloader.poll()).toBeUndefined();
    symlinkSync('v2', join(folder, '..next'));
    renameSync(join(folder, '..next'), join(folder, '..data'));
    expect(await reloader.poll()).toMatchObject({ ok: true, changed: true });
    expect(reloader.current.prices[0]?.usdPerGpuHour).toBe('4');
    reloader.stop();
  });

  test('a changed secret file reloads too', async () => {
    const folder = createFolder();
    writeFileSync(join(folder, 'key'), 'first-key-0123456789');
    const { reloader } = createReloader(
      WATCHED.replace('key: 0123456789abcdef', 'keyFile: key'),
      join(folder, 'c.yaml'),
    );
    reloader.start();
    await reloader.poll();
    writeFileSync(join(folder, 'key'), 'second-key-01234567890');
    expect(await reloader.poll()).toMatchObject({ ok: true, changed: true });
    expect(reloader.current.teams[0]?.keys[0]?.key).toBe('second-key-01234567890');
    reloader.stop();
  });

  test('a file that is gone for a moment is refused and taken when it is back', async () => {
    const { reloader, path, write } = createReloader(WATCHED);
    reloader.start();
    await reloader.poll();
    rmSync(path);
    expect(await reloader.poll()).toMatchObject({ ok: false });
    write(WATCHED.replace('2.50', '5'));
    expect(await reloader.poll()).toMatchObject({ ok: true, changed: true });
    reloader.stop();
  });

  test('without watch: true no change is taken over by itself', async () => {
    const { reloader, write } = createReloader(MINIMAL);
    reloader.start();
    await reloader.poll();
    write(MINIMAL.replace('2.50', '3'));
    expect(await reloader.poll()).toBeUndefined();
    expect(reloader.current.prices[0]?.usdPerGpuHour).toBe('2.5');
    reloader.stop();
  });

  test('is done by a timer of its own', async () => {
    const folder = createFolder();
    const path = join(folder, 'c.yaml');
    writeFileSync(path, WATCHED);
    const initial = loadConfig({ path, env: {}, nowMs: NOW_MS });
    if (!initial.ok) throw new Error('the first file must be valid');
    const log: Log = { debug() {}, info() {}, warn() {}, error() {} };
    const reloader = new ConfigReloader({
      path,
      env: {},
      initial: initial.config,
      log,
      load: loadConfig,
      pollMs: 5,
      now: () => NOW_MS,
    });
    const changed = new Promise<Config>((resolve) => void reloader.onChange(resolve));
    reloader.start();
    await reloader.poll();
    writeFileSync(path, WATCHED.replace('2.50', '3.5'));
    expect((await changed).prices[0]?.usdPerGpuHour).toBe('3.5');
    reloader.stop();
  });
});

test.each([
  ['server: { host: localhost }', ['server.host']],
  ['server: { workers: 2 }', ['server.workers']],
  ['server: { requestTimeout: 1s }', []],
  ['admin: { token: a }', ['admin']],
  ['journal: { fsync: strict }', ['journal']],
  ['settlement: { horizon: 10s }', ['settlement']],
  ['grpc: { port: 1 }', ['grpc']],
  ['logging: { level: debug }', ['logging']],
  ['logging: { access: false }', ['logging']],
  ['retention: { records: 10d }', ['retention']],
  ['retention: { archive: "" }', ['retention']],
  ['privacy: { user: drop }', []],
])('%s needs a restart for %j', (line, expected) => {
  expect(restartNeeded(loadValid(MINIMAL), loadValid(`${MINIMAL}${line}\n`))).toEqual(expected);
});
