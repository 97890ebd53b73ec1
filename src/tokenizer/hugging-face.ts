// The libraries of Hugging Face, loaded by the first tokenizer and at once: most gateways count with none, and both take a megabyte.
import { createRequire } from 'node:module';
import type * as Jinja from '@huggingface/jinja';
import type * as Tokenizers from '@huggingface/tokenizers';

const require = createRequire(import.meta.url);

export function loadTokenizers(): typeof Tokenizers {
  return require('@huggingface/tokenizers');
}

export function loadJinja(): typeof Jinja {
  return require('@huggingface/jinja');
}
