// Reads the files of one tokenizer into a ModelTokenizer, never from the network. Where they lie is locate-tokenizer.ts's.
import { readFileSync, statSync } from 'node:fs';
import { ChatTemplate, type TemplateSource } from './chat-template.ts';
import { loadTokenizers } from './hugging-face.ts';
import { locateTokenizer } from './locate-tokenizer.ts';
import { ModelTokenizer, type TokenEncoder } from './model-tokenizer.ts';
import { TokenizerError } from './tokenizer-error.ts';

/** The largest vocabularies in use take 35 MB. */
const TOKENIZER_BYTES_MAX = 256 * 1024 * 1024;
const CONFIG_BYTES_MAX = 16 * 1024 * 1024;

/** Members the library wants to see, with the value that stands for "none". */
const ABSENT_MEMBERS = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };

type JsonObject = Record<string, unknown>;

/**
 * Loads synchronously: about a second for a vocabulary of 128,000 tokens. `path` is what locateTokenizer takes. Throws TokenizerError, whose
 * message names the path and what was expected there.
 */
export function loadTokenizer(path: string): ModelTokenizer {
  const files = locateTokenizer(path);
  const definition = readObject(path, files.tokenizer, TOKENIZER_BYTES_MAX);
  if (typeof definition['model'] !== 'object' || definition['model'] === null) {
    throw new TokenizerError(path, `${files.tokenizer} has no model: expected a tokenizer.json of Hugging Face`);
  }
  const config = files.config === null ? {} : readObject(path, files.config, CONFIG_BYTES_MAX);
  const encoder = build(path, { ...ABSENT_MEMBERS, ...definition }, config);
  const source =
    files.chatTemplate === null ? config['chat_template'] : readText(path, files.chatTemplate, CONFIG_BYTES_MAX);
  return new ModelTokenizer(encoder, createChatTemplate(path, source, config));
}

function build(path: string, definition: JsonObject, config: JsonObject): TokenEncoder {
  try {
    const { Tokenizer } = loadTokenizers();
    const tokenizer: TokenEncoder = new Tokenizer(definition, config);
    // A type that the library does not know may show itself only in use.
    if (tokenizer.encode('one two, 3', { add_special_tokens: false }).ids.length === 0)
      throw new Error('it finds no token in plain text');
    return tokenizer;
  } catch (cause) {
    throw new TokenizerError(path, `cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

function createChatTemplate(path: string, source: unknown, config: JsonObject): ChatTemplate | null {
  if (source === undefined || source === null) return null;
  const sources = typeof source === 'string' ? [{ name: 'default', template: source }] : source;
  if (!Array.isArray(sources) || !sources.every(isTemplateSource)) {
    throw new TokenizerError(path, 'chat_template is neither a text nor a list of named texts');
  }
  try {
    return new ChatTemplate(sources, readSpecialTokens(config));
  } catch (cause) {
    throw new TokenizerError(
      path,
      `its chat template cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

function isTemplateSource(value: unknown): value is TemplateSource {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    typeof value.name === 'string' &&
    'template' in value &&
    typeof value.template === 'string'
  );
}

/** `bos_token`, `eos_token` and their like: a text, or an added token as an object. */
function readSpecialTokens(config: JsonObject): Readonly<Record<string, string>> {
  const tokens: Record<string, string> = {};
  for (const [name, value] of Object.entries(config)) {
    if (!/^[a-z]+_token$/.test(name)) continue;
    if (typeof value === 'string') tokens[name] = value;
    else if (typeof value === 'object' && value !== null && 'content' in value && typeof value.content === 'string') {
      tokens[name] = value.content;
    }
  }
  return tokens;
}

function readObject(path: string, file: string, bytesMax: number): JsonObject {
  const text = readText(path, file, bytesMax);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new TokenizerError(path, `${file} is no JSON`, { cause });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new TokenizerError(path, `${file} is no JSON object`);
  }
  return parsed as JsonObject;
}

function readText(path: string, file: string, bytesMax: number): string {
  try {
    if (statSync(file).size <= bytesMax) return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new TokenizerError(path, `cannot read ${file}: ${(cause as NodeJS.ErrnoException).code ?? 'unknown error'}`, {
      cause,
    });
  }
  throw new TokenizerError(path, `${file} is larger than ${bytesMax} bytes`);
}
