// Where the tokenizers of this folder lie, and what the reference implementation counts with them (fixtures/make-fixtures.py).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadTokenizer } from '#tokenizer/load-tokenizer.ts';
import type { ModelTokenizer } from '#tokenizer/model-tokenizer.ts';

export const FIXTURES = join(import.meta.dirname, 'fixtures');
export type FixtureName = 'byte-level-bpe' | 'unigram' | 'wordpiece';

export interface ExpectedCounts {
  readonly texts: readonly { readonly text: string; readonly plain: number; readonly special: number }[];
  readonly conversations: readonly {
    readonly name: string;
    readonly messages: readonly Readonly<Record<string, unknown>>[];
    readonly tools: readonly unknown[] | null;
    readonly extras: Readonly<Record<string, unknown>>;
    readonly rendered: string;
    readonly tokens: number;
  }[];
}

export function fixturePath(name: FixtureName): string {
  return join(FIXTURES, name);
}

export function loadFixture(name: FixtureName): ModelTokenizer {
  return loadTokenizer(fixturePath(name));
}

export function readExpected(name: FixtureName): ExpectedCounts {
  return JSON.parse(readFileSync(join(FIXTURES, name, 'expected-counts.json'), 'utf8')) as ExpectedCounts;
}
