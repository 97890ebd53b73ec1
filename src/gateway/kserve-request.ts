// What the gateway needs to know of a KServe request body, and the token switches it adds to one. Answers are kserve-answer's.
import { type JsonMember, listMembers, skipSpace } from './json-members.ts';
import { TOKEN_SWITCHES } from './kserve-model-inputs.ts';
import { parseFields, type ParsedRequest } from './parse-request.ts';
import { readRawBools, readRawIntegers, readRawText, readText } from './raw-elements.ts';
import { asObject } from './read-usage.ts';
import { type CountingRequest, PLAIN_COUNTING, readStart } from './triton-counts.ts';

const NOTHING_KNOWN: Omit<ParsedRequest, 'model' | 'stream'> = {
  streamOptions: undefined,
  maxTokens: null,
  promptCount: 1,
  sequences: 1,
  user: null,
  promptTextBytes: 0,
};

/** Spellings of the limit of generated tokens: ensemble and BLS, LLM-API model, C++ backend (upstreams.md §3.2). */
const MAX_TOKEN_NAMES = ['max_tokens', 'sampling_param_max_tokens', 'request_output_len'] as const;
/** Spellings of the inputs that say what a reply holds: the prompt or not, one step or all. */
const EXCLUDE_NAMES = ['exclude_input_in_output'] as const;
const STREAM_NAMES = ['stream', 'streaming'] as const;
const SEQUENCE_NAMES = ['num_return_sequences', 'beam_width', 'n', 'sampling_param_n'] as const;
/** Larger JSON is passed on without a look inside: its numbers are the engine's. */
const JSON_BYTES_MAX = 1024 * 1024;

/** What a KServe body says: its work, and how its answer will count. */
export interface GenerateRequest {
  readonly parsed: ParsedRequest;
  readonly counting: CountingRequest;
}

/** Reads the body of `generate` and `generate_stream`. Throws 400 `invalid_json` or `invalid_request`. */
export function parseGenerateRequest(body: Buffer, model: string, stream: boolean): GenerateRequest {
  const fields = parseFields(body);
  const parameters = asObject(fields['parameters']) ?? {};
  const list = (name: string): readonly unknown[] => flatten(fields[name] ?? parameters[name]);
  const find = (names: readonly string[]): number | null => {
    const values = names.map((name) => readCount(list(name)[0]));
    return values.find((value) => value !== null) ?? null;
  };
  const prompts = fields['text_input'] === undefined ? [undefined] : list('text_input');
  const sequences = Math.max(1, prompts.length) * (find(SEQUENCE_NAMES) ?? 1);
  return {
    parsed: {
      ...NOTHING_KNOWN,
      model,
      stream,
      maxTokens: find(MAX_TOKEN_NAMES),
      promptCount: Math.max(1, prompts.length),
      sequences,
      promptTextBytes: measureTexts(prompts),
    },
    counting: describeCounting(list, find),
  };
}

/** How the answer will count, from inputs by name; lists are flat. */
function describeCounting(
  list: (name: string) => readonly unknown[],
  find: (names: readonly string[]) => number | null,
): CountingRequest {
  const readFlag = (names: readonly string[]): boolean | null => {
    const value = names.map((name) => list(name)[0]).find((one) => typeof one === 'boolean');
    return typeof value === 'boolean' ? value : null;
  };
  const [text] = list('text_input');
  const ids = list('input_ids');
  return {
    excludesInput: readFlag(EXCLUDE_NAMES),
    streams: readFlag(STREAM_NAMES) === true,
    maxTokens: find(MAX_TOKEN_NAMES),
    beams: find(['beam_width']) ?? 1,
    promptStart: typeof text === 'string' ? readStart(text) : '',
    inputIds: ids.length > 0 && ids.every((id) => typeof id === 'number') ? ids : null,
    // Beside text it would be no input of the model, which ignores it, and anybody's claim.
    inputLength: ids.length === 0 ? null : boundLength(find(['input_lengths']), ids.length),
  };
}

function boundLength(said: number | null, idCount: number): number | null {
  return said === null ? null : Math.min(said, idCount);
}

/** Which of the token switches a generate body does not set itself, at the top or among its parameters. */
export function listMissingSwitches(body: Buffer): readonly string[] {
  const members = listMembers(body, skipSpace(body, 0));
  const parameters = members.findLast(({ name }) => name === 'parameters');
  const inner: readonly JsonMember[] =
    parameters !== undefined && body[parameters.valueStart] === 0x7b ? listMembers(body, parameters.valueStart) : [];
  const set = new Set([...members, ...inner].map(({ name }) => name));
  return TOKEN_SWITCHES.filter((name) => !set.has(name));
}

/** The body with the switches set in front of its own fields; all other bytes as they were. `body` is a JSON object. */
export function spliceSwitches(body: Buffer, switches: readonly string[]): Buffer {
  if (switches.length === 0) return body;
  const at = skipSpace(body, 0) + 1;
  const isEmpty = body[skipSpace(body, at)] === 0x7d;
  const text = switches.map((name) => `"${name}":true`).join(',') + (isEmpty ? '' : ',');
  return Buffer.concat([body.subarray(0, at), Buffer.from(text), body.subarray(at)]);
}

/** What an `infer` body says of its work. */
export interface InferRequest extends GenerateRequest {
  /** Whether the answer will hold token counts; without them its work is measured by time. */
  readonly countsTokens: boolean;
}

/**
 * Reads the JSON of an `infer` body, up to `Inference-Header-Content-Length` where tensors follow in binary. Never throws: what cannot be
 * read is the engine's to refuse.
 */
export function parseInferRequest(body: Buffer, model: string, headerLength: number | null): InferRequest {
  const unread = {
    parsed: { ...NOTHING_KNOWN, model, stream: false },
    counting: PLAIN_COUNTING,
    countsTokens: false,
  };
  const length = headerLength ?? body.length;
  if (length > JSON_BYTES_MAX || length > body.length) return unread;
  let document: unknown;
  try {
    document = JSON.parse(body.toString('utf8', 0, length));
  } catch {
    return unread;
  }
  const inputs = readTensors(asObject(document)?.['inputs'], body.subarray(length));
  const outputs = readTensors(asObject(document)?.['outputs']);
  const list = (name: string): readonly unknown[] => {
    const tensor = inputs.find((input) => input.name === name);
    return tensor === undefined ? [] : readElements(tensor);
  };
  const find = (names: readonly string[]): number | null => {
    const values = names.map((name) => readCount(list(name)[0]));
    return values.find((value) => value !== null) ?? null;
  };
  const prompts = list('text_input');
  const promptCount = Math.max(1, prompts.length);
  const asks = (name: string): boolean => name === 'num_input_tokens' || name === 'num_output_tokens';
  return {
    parsed: {
      ...unread.parsed,
      maxTokens: find(MAX_TOKEN_NAMES),
      promptCount,
      sequences: promptCount * (find(SEQUENCE_NAMES) ?? 1),
      promptTextBytes: measureTexts(prompts),
    },
    counting: describeCounting(list, find),
    countsTokens:
      takesTokens(inputs.map(({ name }) => name)) ||
      outputs.some(({ name }) => asks(name)) ||
      inputs.some(({ name }) => (TOKEN_SWITCHES as readonly string[]).includes(name)),
  };
}

/** Whether these are inputs of the C++ `tensorrt_llm` model, whose answer always says the length of its sequences. */
export function takesTokens(inputNames: readonly string[]): boolean {
  return inputNames.includes('input_ids') && inputNames.includes('request_output_len');
}

/** The value of `Inference-Header-Content-Length`; null where it is absent or no number. */
export function readHeaderLength(header: string | string[] | undefined): number | null {
  return typeof header === 'string' && /^\d{1,10}$/.test(header) ? Number(header) : null;
}

/** A tensor of a KServe JSON document. */
export interface JsonTensor {
  readonly name: string;
  readonly datatype: string;
  readonly data: unknown;
  /** Its contents where they follow the document in binary; null where `data` has them. Empty where they are cut off. */
  readonly raw: Buffer | null;
}

/**
 * The tensors of `inputs` or `outputs`; what is none is left out. Binary contents follow one another in the order of their tensors (Triton's
 * binary data extension).
 */
export function readTensors(list: unknown, binary: Buffer = Buffer.alloc(0)): readonly JsonTensor[] {
  if (!Array.isArray(list)) return [];
  let offset = 0;
  return list.flatMap((entry: unknown) => {
    const tensor = asObject(entry);
    if (tensor === null) return [];
    const { name, datatype, data } = tensor;
    const size = readCount(asObject(tensor['parameters'])?.['binary_data_size']) ?? 0;
    const slice = binary.subarray(offset, offset + size);
    offset += size;
    const raw = size > 0 ? (slice.length === size ? slice : Buffer.alloc(0)) : null;
    return [{ name: readText(name), datatype: readText(datatype), data, raw }];
  });
}

/** Elements of a tensor, wherever they stand; of binary texts the first alone. */
export function readElements({ raw, datatype, data }: JsonTensor): readonly unknown[] {
  if (raw === null) return flatten(data);
  if (datatype === 'BYTES') return readRawText(raw);
  return datatype === 'BOOL' ? readRawBools(raw) : readRawIntegers(raw, datatype);
}

/** `data` may be flat or nested in its shape (KServe v2, "Tensor Data"); nobody has more than eight dimensions. */
export function flatten(data: unknown): readonly unknown[] {
  if (data === undefined || data === null) return [];
  return Array.isArray(data) ? data.flat(8) : [data];
}

function readCount(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
}

function measureTexts(texts: readonly unknown[]): number {
  return texts.reduce<number>((sum, text) => sum + (typeof text === 'string' ? Buffer.byteLength(text) : 0), 0);
}
