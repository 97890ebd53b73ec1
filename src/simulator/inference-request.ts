// Lives here: what a request to the simulated engine asks for, read from its JSON after the flavour accepted it.
// Not here: which fields a flavour accepts (flavors/), and what the answer says.
import { PromptDigest } from './pseudo-text.ts';

/** A parsed JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What a request wants of the engine. The Messages and Responses protocols are other words for `chat` (flavors/protocol-flavors.ts). */
export type InferenceRoute = 'chat' | 'completions' | 'embeddings' | 'rerank' | 'score';

/** Whether a route computes prompts and generates nothing. */
export function isPooling(route: InferenceRoute): boolean {
  return route === 'embeddings' || route === 'rerank' || route === 'score';
}

/** One prompt, counted and fingerprinted. */
export interface PreparedPrompt {
  readonly tokens: number;
  readonly blocks: readonly number[];
  readonly fingerprint: number;
}

/** The function whose call the answer is to be. */
export interface ToolRequest {
  readonly name: string;
  readonly parameters: JsonObject;
}

/** A request as the engine understands it. */
export interface InferenceRequest {
  readonly route: InferenceRoute;
  readonly model: string;
  readonly prompts: readonly PreparedPrompt[];
  /** Sequences per prompt (`n`). */
  readonly choices: number;
  /** Null where the request sets no limit. */
  readonly maxTokens: number | null;
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly stops: readonly string[];
  readonly seed: number;
  readonly stream: boolean;
  readonly logprobs: boolean;
  readonly tool: ToolRequest | null;
  /** JSON schema of the answer (`response_format`), `{}` for any object; null where the answer is prose. */
  readonly schema: JsonObject | null;
  /** Embeddings as base64 of 32-bit floats instead of a list of numbers. */
  readonly base64: boolean;
  /** Length of an embedding. */
  readonly dimensions: number;
  /** The prompt that a whole answer repeats before its own text; null where it does not. */
  readonly echo: string | null;
  /** The document of each prompt of `rerank`; empty otherwise. */
  readonly documents: readonly string[];
  /** Results that `rerank` is to return; 0 for all. */
  readonly topN: number;
}

// A client must not make the simulator hold more than this for one request.
const sequencesMax = 1024;
const dimensionsMax = 8192;

/** True for a JSON object that is no array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A request that makes no sense to any flavour; `message` is for the client, `field` the one to blame. */
export class MalformedRequestError extends Error {
  readonly field: string;

  constructor(field: string, message: string) {
    super(message);
    this.name = 'MalformedRequestError';
    this.field = field;
  }
}

/** Reads a request of the given route; throws MalformedRequestError. */
export function parseInferenceRequest(route: InferenceRoute, body: JsonObject): InferenceRequest {
  const { model = '' } = body;
  if (typeof model !== 'string') throw new MalformedRequestError('model', 'Input should be a valid string');
  const documents = route === 'rerank' ? readTexts(body, 'documents') : [];
  const prompts = readAllPrompts(route, body, documents);
  const choices = readCount(body, 'n') ?? 1;
  if (choices * prompts.length > sequencesMax) {
    throw new MalformedRequestError('n', `At most ${sequencesMax} sequences per request`);
  }
  const maxTokens = readCount(body, 'max_completion_tokens') ?? readCount(body, 'max_tokens');
  const stop = body['stop'];
  return {
    route,
    model,
    prompts,
    choices,
    maxTokens,
    minTokens: readCount(body, 'min_tokens') ?? 0,
    ignoreEos: body['ignore_eos'] === true,
    stops: (Array.isArray(stop) ? stop : [stop]).filter((text) => typeof text === 'string' && text !== ''),
    seed: readCount(body, 'seed') ?? 0,
    stream: body['stream'] === true,
    // Chat takes a flag, completions a number of alternatives, of which 0 still means the token itself.
    logprobs: body['logprobs'] === true || (route === 'completions' && typeof body['logprobs'] === 'number'),
    tool: route === 'chat' ? readTool(body) : null,
    schema: readSchema(body['response_format']),
    base64: body['encoding_format'] === 'base64',
    dimensions: Math.min(readCount(body, 'dimensions') ?? 64, dimensionsMax),
    echo: body['echo_prompt'] === true && typeof body['prompt'] === 'string' ? body['prompt'] : null,
    documents,
    topN: readCount(body, 'top_n') ?? 0,
  };
}

function readAllPrompts(route: InferenceRoute, body: JsonObject, documents: readonly string[]): PreparedPrompt[] {
  switch (route) {
    case 'chat':
      return [readConversation(body)];
    case 'rerank':
      return pairTexts(readTexts(body, 'query'), documents);
    case 'score':
      return pairTexts(readTexts(body, 'text_1'), readTexts(body, 'text_2'));
    default:
      return readPrompts(body, route);
  }
}

// A cross-encoder reads both texts at once, with a marker between them and one at either end.
function pairTexts(left: readonly string[], right: readonly string[]): PreparedPrompt[] {
  return right.map((text, index) => {
    const digest = new PromptDigest();
    digest.appendToken(1);
    digest.appendText(left[index] ?? left[0] ?? '');
    digest.appendToken(2);
    digest.appendText(text);
    digest.appendToken(2);
    return finishPrompt(digest);
  });
}

/** One text or a list of them; a document may be an object that holds its text. */
function readTexts(body: JsonObject, field: string): readonly string[] {
  const value = body[field];
  const texts = (Array.isArray(value) ? value : [value]).map((item: unknown) =>
    isJsonObject(item) ? item['text'] : item,
  );
  if (texts.length === 0 || !texts.every((text) => typeof text === 'string')) {
    throw new MalformedRequestError(field, 'Input should be a string or a list of strings');
  }
  return texts;
}

function readCount(body: JsonObject, field: string): number | null {
  const value = body[field] ?? null;
  if (value === null) return null;
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    throw new MalformedRequestError(field, 'Input should be a valid integer');
  }
  if (field === 'seed') return value;
  if (value < 0 || (value === 0 && !['min_tokens', 'top_n'].includes(field))) {
    throw new MalformedRequestError(field, 'Input should be greater than or equal to 1');
  }
  return value;
}

// Chat template: three markers before each message and one after it, three more that ask for the answer.
function readConversation(body: JsonObject): PreparedPrompt {
  const { messages, tools } = body;
  if (!Array.isArray(messages)) throw new MalformedRequestError('messages', 'Field required');
  const digest = new PromptDigest();
  if (Array.isArray(tools) && tools.length > 0) digest.appendText(JSON.stringify(tools));
  for (const message of messages) {
    if (!isJsonObject(message) || typeof message['role'] !== 'string') {
      throw new MalformedRequestError('messages', 'Each message needs a role');
    }
    digest.appendToken(1);
    digest.appendToken(message['role'].length);
    digest.appendToken(2);
    appendContent(digest, message['content']);
    if (Array.isArray(message['tool_calls'])) digest.appendText(JSON.stringify(message['tool_calls']));
    digest.appendToken(3);
  }
  for (const marker of [1, 9, 2]) digest.appendToken(marker);
  return finishPrompt(digest);
}

// What is no text (an image, audio) counts as this many tokens.
const tokensOfOtherPart = 256;

function appendContent(digest: PromptDigest, content: unknown): void {
  if (typeof content === 'string') digest.appendText(content);
  if (!Array.isArray(content)) return;
  for (const part of content) {
    const text = isJsonObject(part) ? part['text'] : part;
    if (typeof text === 'string') digest.appendText(text);
    else for (let index = 0; index < tokensOfOtherPart; index += 1) digest.appendToken(index);
  }
}

function readPrompts(body: JsonObject, route: InferenceRoute): PreparedPrompt[] {
  const field = route === 'embeddings' ? 'input' : 'prompt';
  const value = body[field];
  if (typeof value === 'string' || isTokenList(value)) return [preparePrompt(value)];
  if (
    Array.isArray(value) &&
    value.length > 0 &&
    (value.every((item) => typeof item === 'string') || value.every((item) => isTokenList(item)))
  ) {
    return value.map((item) => preparePrompt(item));
  }
  throw new MalformedRequestError(field, 'Input should be a string, a list of strings, or token ids');
}

function isTokenList(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0);
}

function preparePrompt(prompt: string | readonly number[]): PreparedPrompt {
  const digest = new PromptDigest();
  digest.appendToken(0);
  if (typeof prompt === 'string') digest.appendText(prompt);
  else for (const id of prompt) digest.appendToken(id);
  return finishPrompt(digest);
}

function finishPrompt(digest: PromptDigest): PreparedPrompt {
  return { tokens: digest.tokens, blocks: digest.blockFingerprints(), fingerprint: digest.fingerprint() };
}

function readSchema(format: unknown): JsonObject | null {
  if (!isJsonObject(format) || (format['type'] !== 'json_object' && format['type'] !== 'json_schema')) return null;
  const described = isJsonObject(format['json_schema']) ? format['json_schema']['schema'] : undefined;
  return isJsonObject(described) ? described : {};
}

function readTool(body: JsonObject): ToolRequest | null {
  const { tools, tool_choice: choice, messages } = body;
  if (!Array.isArray(tools) || tools.length === 0 || choice === 'none') return null;
  const functions = tools.flatMap((tool) =>
    isJsonObject(tool) && isJsonObject(tool['function']) ? [tool['function']] : [],
  );
  const named = isJsonObject(choice) && isJsonObject(choice['function']) ? choice['function']['name'] : undefined;
  const lastUser = Array.isArray(messages)
    ? messages.findLast((message) => isJsonObject(message) && message['role'] === 'user')
    : undefined;
  const asked = JSON.stringify(isJsonObject(lastUser) ? (lastUser['content'] ?? '') : '').includes('call the tool');
  if (named === undefined && choice !== 'required' && !asked) return null;
  const chosen = functions.find((one) => one['name'] === named) ?? (named === undefined ? functions[0] : undefined);
  if (chosen === undefined || typeof chosen['name'] !== 'string') {
    throw new MalformedRequestError('tool_choice', 'No such function among the tools');
  }
  return { name: chosen['name'], parameters: isJsonObject(chosen['parameters']) ? chosen['parameters'] : {} };
}
