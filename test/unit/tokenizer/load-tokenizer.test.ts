import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { loadTokenizer } from '#tokenizer/load-tokenizer.ts';
import { TokenizerError } from '#tokenizer/tokenizer-error.ts';
import { fixturePath } from './fixture-tokenizers.ts';

const HELLO = {
  messages: [{ role: 'user', content: 'hi' }],
  tools: null,
  documents: null,
  extras: {},
  addGenerationPrompt: false,
};

function createFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-tokenizer-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function copyFixture(name: 'byte-level-bpe' | 'unigram' = 'byte-level-bpe'): string {
  const folder = createFolder();
  cpSync(fixturePath(name), folder, { recursive: true });
  return folder;
}

function errorOf(path: string): TokenizerError {
  try {
    loadTokenizer(path);
  } catch (err) {
    if (err instanceof TokenizerError) return err;
    throw err;
  }
  throw new Error('it loaded');
}

/** A mounted cache as huggingface_hub writes it: snapshots are links into blobs. */
function createCache(options: { readonly ref: string | null; readonly revisions: readonly string[] }): string {
  const entry = join(createFolder(), 'models--org--small');
  mkdirSync(join(entry, 'blobs'), { recursive: true });
  cpSync(join(fixturePath('unigram'), 'tokenizer.json'), join(entry, 'blobs', 'abc'));
  for (const revision of options.revisions) {
    mkdirSync(join(entry, 'snapshots', revision), { recursive: true });
    symlinkSync('../../blobs/abc', join(entry, 'snapshots', revision, 'tokenizer.json'));
  }
  if (options.ref !== null) {
    mkdirSync(join(entry, 'refs'));
    writeFileSync(join(entry, 'refs', 'main'), options.ref);
  }
  return entry;
}

describe('where a tokenizer is found', () => {
  test('a folder, its tokenizer.json, and a snapshot of a cache give the same counts', () => {
    const folder = copyFixture();
    const cache = createCache({ ref: 'f00d\n', revisions: ['f00d', 'beef'] });
    const count = (path: string): number => loadTokenizer(path).count('the quick fox', { addSpecialTokens: false });
    expect(count(join(folder, 'tokenizer.json'))).toBe(count(folder));
    expect(count(cache)).toBe(count(fixturePath('unigram')));
    expect(count(join(cache, 'snapshots', 'beef'))).toBe(count(cache));
  });

  test('the only snapshot is taken where a cache has no refs', () => {
    expect(
      loadTokenizer(createCache({ ref: null, revisions: ['only'] })).count('fox', { addSpecialTokens: false }),
    ).toBe(1);
  });

  test.each([
    ['several snapshots without refs/main', { ref: null, revisions: ['a', 'b'] }, /no refs\/main, and 2 snapshots/],
    ['no snapshot at all', { ref: 'gone', revisions: [] }, /expected tokenizer\.json in/],
    ['a revision that was not mounted', { ref: 'gone', revisions: ['a'] }, /revision gone, which is not among/],
    ['a revision that leads out of the cache', { ref: '../../..', revisions: ['a'] }, /holds no revision/],
    ['a revision of dots', { ref: '..', revisions: ['a'] }, /holds no revision/],
  ])('%s is an error that says so', (_what, cache, message) => {
    expect(errorOf(createCache(cache)).message).toMatch(message);
  });
});

describe('errors name the path and what was expected', () => {
  test('a path where nothing is', () => {
    const err = errorOf('/nowhere/at/all');
    expect(err.path).toBe('/nowhere/at/all');
    expect(err.message).toBe('tokenizer /nowhere/at/all: there is no such file or folder');
  });

  test('an empty folder, and one that holds another format', () => {
    const folder = createFolder();
    expect(errorOf(folder).message).toContain(`expected tokenizer.json in ${folder}`);
    writeFileSync(join(folder, 'tokenizer.model'), 'x');
    expect(errorOf(folder).message).toContain('has tokenizer.model but no tokenizer.json');
    expect(errorOf(join(folder, 'tokenizer.model')).message).toContain('expected a tokenizer.json');
  });

  test.each([
    ['no JSON', '{', /tokenizer\.json is no JSON$/],
    ['a list', '[]', /is no JSON object/],
    ['another document', '{"version":1}', /has no model/],
    ['a model nobody knows', '{"model":{"type":"Wonder"}}', /cannot be used: /],
    ['an empty vocabulary', '{"model":{"type":"BPE","vocab":{},"merges":[]}}', /cannot be used: it finds no token/],
    [
      'a normalizer nobody knows',
      '{"model":{"type":"BPE","vocab":{},"merges":[]},"normalizer":{"type":"X"}}',
      /cannot be used/,
    ],
  ])('a tokenizer.json that is %s', (_what, text, message) => {
    const folder = createFolder();
    writeFileSync(join(folder, 'tokenizer.json'), text);
    expect(errorOf(folder).message).toMatch(message);
    expect(errorOf(folder).message).toContain(folder);
  });

  test.each([
    ['{% if %}', /chat template cannot be read/],
    [7, /neither a text nor a list/],
    [[{ name: 'a' }], /neither a text nor a list/],
    [
      [
        { name: 'a', template: 'x' },
        { name: 'b', template: 'y' },
      ],
      /none is named default/,
    ],
  ])('a chat template that is %j', (template, message) => {
    const folder = copyFixture();
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ chat_template: template }));
    expect(errorOf(folder).message).toMatch(message);
  });

  test('a damaged tokenizer_config.json', () => {
    const folder = copyFixture();
    writeFileSync(join(folder, 'tokenizer_config.json'), 'nonsense');
    expect(errorOf(folder).message).toMatch(/tokenizer_config\.json is no JSON/);
  });
});

describe('the chat template', () => {
  test('a model without one renders nothing', () => {
    const folder = copyFixture();
    rmSync(join(folder, 'tokenizer_config.json'));
    expect(loadTokenizer(folder).renderChat(HELLO)).toBeNull();
  });

  test('chat_template.jinja goes before the one in tokenizer_config.json', () => {
    const folder = copyFixture();
    writeFileSync(join(folder, 'chat_template.jinja'), 'newer');
    expect(loadTokenizer(folder).renderChat(HELLO)).toBe('newer');
  });

  test('among named templates, tool_use serves requests with tools and default all others', () => {
    const folder = copyFixture();
    const named = [
      { name: 'default', template: 'plain' },
      { name: 'tool_use', template: 'tools' },
    ];
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ chat_template: named }));
    const tokenizer = loadTokenizer(folder);
    expect(tokenizer.renderChat(HELLO)).toBe('plain');
    expect(tokenizer.renderChat({ ...HELLO, tools: [{}] })).toBe('tools');
  });

  test('special tokens reach the template as text, however the file writes them', () => {
    const folder = copyFixture();
    const config = {
      bos_token: { content: '<|begin_of_text|>' },
      eos_token: '<|eot_id|>',
      unk_token: null,
      chat_template: '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{% if unk_token %}!{% endif %}',
    };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    expect(loadTokenizer(folder).renderChat(HELLO)).toBe('<|begin_of_text|>hi<|eot_id|>');
  });

  test('what a request sends along cannot take the place of its messages', () => {
    const folder = copyFixture();
    writeFileSync(join(folder, 'chat_template.jinja'), '{{ messages[0].content }}{{ mood }}');
    const extras = { messages: [{ content: 'other' }], mood: '!' };
    expect(loadTokenizer(folder).renderChat({ ...HELLO, extras })).toBe('hi!');
  });
});
