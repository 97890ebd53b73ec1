// Lives here: which values the fields of a request may have, and how loosely they are read: every engine here validates with pydantic,
// which takes `"5"` for 5 and `"true"` for true. Not here: which fields a flavour knows (flavors/), what a value means to the engine.
import { isJsonObject, isPooling, MalformedRequestError } from './inference-request.ts';
import type { InferenceRoute, JsonObject } from './inference-request.ts';

/** Reads a value that is not null; throws what is wrong with it as RangeError. */
type FieldReader = (value: unknown) => unknown;

interface Bounds {
  readonly min?: number;
  readonly max?: number;
  /** The minimum itself is refused. */
  readonly above?: number;
}

const TRUE = new Set<unknown>([true, 1, '1', 'true', 't', 'yes', 'y', 'on']);
const FALSE = new Set<unknown>([false, 0, '0', 'false', 'f', 'no', 'n', 'off']);

function readNumber(value: unknown): number {
  if (typeof value === 'boolean') return Number(value);
  return typeof value === 'string' && /^\s*[+-]?\d/.test(value)
    ? Number(value)
    : typeof value === 'number'
      ? value
      : NaN;
}

function checkBounds(value: number, { min = -Infinity, max = Infinity, above = -Infinity }: Bounds): number {
  if (value < min) throw new RangeError(`Input should be greater than or equal to ${min}`);
  if (value <= above) throw new RangeError(`Input should be greater than ${above}`);
  if (value > max) throw new RangeError(`Input should be less than or equal to ${max}`);
  return value;
}

const integer =
  (bounds: Bounds = {}): FieldReader =>
  (value) => {
    const read = readNumber(value);
    if (!Number.isInteger(read)) throw new RangeError('Input should be a valid integer');
    return checkBounds(read, bounds);
  };

const number =
  (bounds: Bounds = {}): FieldReader =>
  (value) => {
    const read = readNumber(value);
    if (!Number.isFinite(read)) throw new RangeError('Input should be a valid number');
    return checkBounds(read, bounds);
  };

const flag: FieldReader = (value) => {
  const read = typeof value === 'string' ? value.toLowerCase() : value;
  if (!TRUE.has(read) && !FALSE.has(read)) throw new RangeError('Input should be a valid boolean');
  return TRUE.has(read);
};

const text: FieldReader = (value) => {
  if (typeof value !== 'string') throw new RangeError('Input should be a valid string');
  return value;
};

const oneOrMoreTexts: FieldReader = (value) => {
  const isText = typeof value === 'string' || (Array.isArray(value) && value.every((one) => typeof one === 'string'));
  if (!isText) throw new RangeError('Input should be a valid string or a list of strings');
  return value;
};

const dictionary: FieldReader = (value) => {
  if (!isJsonObject(value)) throw new RangeError('Input should be a valid dictionary');
  return value;
};

const dictionaries: FieldReader = (value) => {
  if (!Array.isArray(value)) throw new RangeError('Input should be a valid list');
  return value.map(dictionary);
};

const oneOf =
  (...allowed: readonly string[]): FieldReader =>
  (value) => {
    if (typeof value !== 'string' || !allowed.includes(value))
      throw new RangeError(`Input should be ${allowed.map((one) => `'${one}'`).join(' or ')}`);
    return value;
  };

const messageList: FieldReader = (value) => {
  if (!Array.isArray(value)) throw new RangeError('Input should be a valid list');
  if (value.length === 0) throw new RangeError('List should have at least 1 item after validation, not 0');
  for (const message of value) {
    if (!isJsonObject(message) || typeof message['role'] !== 'string')
      throw new RangeError('Each message needs a role');
    const content = message['content'] ?? '';
    if (typeof content === 'string') continue;
    const isParts = Array.isArray(content) && content.every((part) => typeof part === 'string' || isJsonObject(part));
    if (!isParts) throw new RangeError('The content of a message should be a valid string or a list of parts');
  }
  return value;
};

const toolChoice: FieldReader = (value) => {
  if (isJsonObject(value) && isJsonObject(value['function'])) return value;
  if (typeof value === 'string' && ['none', 'auto', 'required'].includes(value)) return value;
  throw new RangeError('Only named tools, "none", "auto" or "required" are supported');
};

const responseFormat: FieldReader = (value) => {
  const { type, json_schema: schema } = dictionary(value) as JsonObject;
  oneOf('text', 'json_object', 'json_schema', 'json', 'regex', 'ebnf', 'structural_tag')(type);
  if (type === 'json_schema' && !isJsonObject(schema)) throw new RangeError("'json_schema' field must be provided");
  return value;
};

const streamOptions: FieldReader = (value) => {
  const options = dictionary(value) as JsonObject;
  const read = ['include_usage', 'continuous_usage_stats'].flatMap((name) => {
    const given = options[name] ?? null;
    return given === null ? [] : [[name, flag(given)] as const];
  });
  return { ...options, ...Object.fromEntries(read) };
};

const atLeastOne = integer({ min: 1 });
const penalty = number({ min: -2, max: 2 });

const generating: Readonly<Record<string, FieldReader>> = {
  n: atLeastOne,
  best_of: atLeastOne,
  max_tokens: atLeastOne,
  max_completion_tokens: atLeastOne,
  min_tokens: integer({ min: 0 }),
  temperature: number({ min: 0 }),
  top_p: number({ above: 0, max: 1 }),
  min_p: number({ min: 0, max: 1 }),
  top_k: integer({ min: -1 }),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  repetition_penalty: number({ above: 0 }),
  seed: integer(),
  stop: oneOrMoreTexts,
  stream: flag,
  ignore_eos: flag,
  stream_options: streamOptions,
  logit_bias: dictionary,
  response_format: responseFormat,
};

const fieldsOf: Readonly<Record<InferenceRoute, Readonly<Record<string, FieldReader>>>> = {
  chat: {
    ...generating,
    messages: messageList,
    logprobs: flag,
    top_logprobs: integer({ min: 0, max: 20 }),
    tools: dictionaries,
    tool_choice: toolChoice,
  },
  completions: { ...generating, logprobs: integer({ min: 0, max: 20 }), echo: flag },
  embeddings: { dimensions: atLeastOne, encoding_format: oneOf('float', 'base64') },
  rerank: { top_n: integer({ min: 0 }) },
  score: {},
};

/** The request with its values as the engine understands them; throws MalformedRequestError at the first that it does not take. */
export function checkFields(route: InferenceRoute, body: JsonObject): JsonObject {
  const readers: Readonly<Record<string, FieldReader>> = { user: text, ...fieldsOf[route] };
  const read: Record<string, unknown> = { ...body };
  for (const [field, reader] of Object.entries(readers)) {
    const value = body[field] ?? null;
    if (value !== null) read[field] = readField(field, reader, value);
  }
  if (!isPooling(route)) checkTogether(read);
  return read;
}

function readField(field: string, reader: FieldReader, value: unknown): unknown {
  try {
    return reader(value);
  } catch (error) {
    if (error instanceof RangeError) throw new MalformedRequestError(field, error.message);
    throw error;
  }
}

/** What makes no sense without another field. */
function checkTogether(body: JsonObject): void {
  const { top_logprobs: alternatives, tool_choice: choice, tools } = body;
  if (typeof alternatives === 'number' && alternatives > 0 && body['logprobs'] !== true)
    throw new MalformedRequestError('top_logprobs', 'when using `top_logprobs`, `logprobs` must be set to true.');
  const demandsCall = isJsonObject(choice) || choice === 'required';
  if (demandsCall && !(Array.isArray(tools) && tools.length > 0))
    throw new MalformedRequestError('tool_choice', 'When using `tool_choice`, `tools` must be set.');
}
