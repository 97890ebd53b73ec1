// What the gateway needs to know of a JSON body, found with one JSON.parse; changing the body is splice-body's concern.
import { GatewayError } from '#domain/errors.ts';
import { createTooMany, holdsTooMany } from './count-values.ts';
import type { RouteShape } from './metered-routes.ts';

/** Facts of one inference request. */
export interface ParsedRequest {
  /** As sent; null where the body names none. */
  readonly model: string | null;
  readonly stream: boolean;
  /** `stream_options` as parsed, undefined where absent. */
  readonly streamOptions: unknown;
  /** `max_tokens` or its aliases; null without. */
  readonly maxTokens: number | null;
  /** List prompts in one request; at least 1. */
  readonly promptCount: number;
  /** Sequences the engine runs for it: prompts × max(n, best_of). */
  readonly sequences: number;
  /** Those of them that its answer holds: prompts × n; absent where they are all. */
  readonly choices?: number;
  /** OpenAI's `user`, or Anthropic's `metadata.user_id`; null without. */
  readonly user: string | null;
  /** UTF-8 bytes of the prompt's text alone, for estimates; token ids count 4 bytes each. */
  readonly promptTextBytes: number;
  /** Prompts that each of its choices repeats first (`echo` of completions); absent where none does. */
  readonly echoed?: readonly string[];
}

/** Parses a body. Throws 400 `invalid_json`, or `invalid_request` for JSON that is no object or a model that is no text. */
export function parseRequest(body: Buffer, shape: RouteShape): ParsedRequest {
  return readRequest(parseFields(body), shape);
}

/** What a body's fields say. Throws 400 `invalid_request` where the model is no text. */
export function readRequest(fields: Readonly<Record<string, unknown>>, shape: RouteShape): ParsedRequest {
  const { model } = fields;
  if (model !== undefined && model !== null && typeof model !== 'string') {
    throw new GatewayError('invalid_request', { text: 'The field model must be a string.', param: 'model' });
  }
  const promptCount = countPrompts(shape === 'embedding' ? fields['input'] : fields['prompt'], shape);
  // Other protocols have no such fields: engines ignore them there.
  const isSampled = shape === 'chat' || shape === 'completion';
  const choices = isSampled ? (readCount(fields['n']) ?? 1) : 1;
  const candidates = isSampled ? Math.max(choices, readCount(fields['best_of']) ?? 1) : 1;
  return {
    model: model === undefined || model === null || model === '' ? null : model,
    stream: fields['stream'] === true,
    streamOptions: fields['stream_options'],
    maxTokens:
      readCount(fields['max_completion_tokens']) ??
      readCount(fields['max_tokens']) ??
      readCount(fields['max_output_tokens']),
    promptCount,
    sequences: promptCount * candidates,
    choices: promptCount * choices,
    user: readUser(fields),
    promptTextBytes: measurePromptText(fields),
    ...(shape === 'completion' && fields['echo'] === true ? { echoed: listTexts(fields['prompt']) } : {}),
  };
}

/** The top-level fields of a body. Throws 413 `request_too_large`, 400 `invalid_json`, or `invalid_request` for JSON that is no object. */
export function parseFields(body: Buffer): Readonly<Record<string, unknown>> {
  if (holdsTooMany(body)) throw createTooMany();
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    // The parser's message quotes the body, which must reach no log: neither message nor cause is kept.
    throw new GatewayError('invalid_json');
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new GatewayError('invalid_request', { text: 'The request body must be a JSON object.' });
  }
  return parsed as Record<string, unknown>;
}

function readCount(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** A list of texts or of token lists is a list of prompts; a list of numbers is one prompt as token ids; other protocols take none. */
function countPrompts(prompt: unknown, shape: RouteShape): number {
  if (shape !== 'completion' && shape !== 'embedding') return 1;
  return Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== 'number' ? prompt.length : 1;
}

/** Prompts by their place in the list; one that is no text is ''. */
function listTexts(prompt: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(prompt) ? prompt : [prompt];
  return list.map((text) => (typeof text === 'string' ? text : ''));
}

function readUser(fields: Readonly<Record<string, unknown>>): string | null {
  const { user, metadata } = fields;
  if (typeof user === 'string') return user;
  if (typeof metadata === 'object' && metadata !== null && 'user_id' in metadata) {
    return typeof metadata.user_id === 'string' ? metadata.user_id : null;
  }
  return null;
}

/** Fields whose texts a model reads. */
const PROMPT_FIELDS = ['messages', 'prompt', 'input', 'system', 'instructions', 'query', 'documents'];
/** Keys inside them that hold text. */
const TEXT_KEYS = ['content', 'text', 'input', 'output', 'arguments', 'tool_calls', 'function'];

/** Walks with a stack of its own, so that no depth of nesting can exhaust the call stack. */
function measurePromptText(fields: Readonly<Record<string, unknown>>): number {
  const pending: unknown[] = [];
  for (const name of PROMPT_FIELDS) {
    if (fields[name] !== undefined) pending.push(fields[name]);
  }
  let bytes = 0;
  for (let value = pending.pop(); pending.length > 0 || value !== undefined; value = pending.pop()) {
    if (typeof value === 'string') bytes += Buffer.byteLength(value);
    else if (typeof value === 'number') bytes += 4;
    else if (Array.isArray(value)) for (const item of value) pending.push(item);
    else if (typeof value === 'object' && value !== null) {
      for (const key of TEXT_KEYS) {
        const inner = (value as Record<string, unknown>)[key];
        if (inner !== undefined) pending.push(inner);
      }
    }
  }
  return bytes;
}
