import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '#config/load-config.ts';
import { createFolder, loadValid, MINIMAL, NOW_MS } from './config-file.ts';

function load(folder: string, tokenizer: string, env: Readonly<Record<string, string>> = {}) {
  const path = join(folder, 'inferometer.yaml');
  writeFileSync(path, `${MINIMAL}    tokenizer: ${tokenizer}\n`);
  return loadConfig({ path, env, nowMs: NOW_MS });
}

function tokenizerOf(folder: string, tokenizer: string, env: Readonly<Record<string, string>> = {}): unknown {
  const result = load(folder, tokenizer, env);
  return result.ok ? result.config.deployments[0]?.tokenizer : result.problems;
}

describe('deployments[].tokenizer', () => {
  test('a path is relative to the config file and absolute in the config', () => {
    const folder = createFolder();
    mkdirSync(join(folder, 'llama'));
    writeFileSync(join(folder, 'llama', 'tokenizer.json'), '{}');
    expect(tokenizerOf(folder, 'llama')).toBe(join(folder, 'llama'));
    expect(tokenizerOf(folder, 'llama/tokenizer.json')).toBe(join(folder, 'llama', 'tokenizer.json'));
    expect(tokenizerOf(folder, '"${MODELS}/llama"', { MODELS: folder })).toBe(join(folder, 'llama'));
  });

  test('an entry of a Hugging Face cache is taken', () => {
    const folder = createFolder();
    mkdirSync(join(folder, 'models--org--llama', 'snapshots'), { recursive: true });
    expect(tokenizerOf(folder, 'models--org--llama')).toBe(join(folder, 'models--org--llama'));
  });

  test('without the key, and with an empty one, there is no tokenizer', () => {
    expect(loadValid(MINIMAL).deployments[0]).not.toHaveProperty('tokenizer');
    expect(tokenizerOf(createFolder(), '""')).toBeUndefined();
  });

  test.each([
    ['a path where nothing is', 'gone', /there is no .*gone/],
    ['a folder without a tokenizer', '.', /holds neither tokenizer\.json nor the snapshots/],
    ['a file of another kind', 'inferometer.yaml', /inferometer\.yaml is no tokenizer\.json/],
  ])('%s is a problem with its line', (_what, tokenizer, message) => {
    const result = load(createFolder(), tokenizer);
    expect(result.ok ? [] : result.problems).toEqual([
      expect.objectContaining({
        line: 12,
        path: 'deployments[0].tokenizer',
        message: expect.stringMatching(message) as string,
      }),
    ]);
  });

  test('a mapping or a list in its place is a problem, not a crash', () => {
    for (const wrong of ['[a]', '{ a: b }']) {
      const result = load(createFolder(), wrong);
      expect(result.ok ? [] : result.problems.map(({ path }) => path)).toEqual(['deployments[0].tokenizer']);
    }
  });
});
