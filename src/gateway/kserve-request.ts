// What the gateway needs to know of a KServe request body, and the token switches it adds to one. Answers are kserve-answer's.
import { type JsonMember, listMembers, skipSpace } from './json-members.ts';
import { TOKEN_SWITCHES } from './kserve-model-inputs.ts';
import { parseFields, type ParsedRequest } from './parse-request.ts';
import { asObject } from './read-usage.ts';

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
const SEQUENCE_NAMES = ['num_return_sequences', 'beam_width', 'n', 'sampling_param_n'] as const;
/** Larger JSON is passed on without a look inside: its numbers are the engine's. */
const JSON_BYTES_MAX = 1024 * 1024;

/** Reads the body of `generate` and `generate_stream`. Throws 400 `invalid_json` or `invalid_request`. */
export function parseGenerateRequest(body: Buffer, model: string, stream: boolean): ParsedRequest {
  const fields = parseFields(body);
  const parameters = asObject(fields['parameters']) ?? {};
  const find = (names: readonly string[]): number | null => {
    const values = names.map((name) => readCount(fields[name]) ?? readCount(parameters[name]));
    return values.find((value) => value !== null) ?? null;
  };
  const texts = fields['text_input'];
  const prompts = Array.isArray(texts) ? texts : [texts];
  return {
    ...NOTHING_KNOWN,
    model,
    stream,
    maxTokens: find(MAX_TOKEN_NAMES),
    promptCount: Math.max(1, prompts.length),
    sequences: Math.max(1, prompts.length) * (find(SEQUENCE_NAMES) ?? 1),
    promptTextBytes: measureTexts(prompts),
  };
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
export interface InferRequest {
  readonly parsed: ParsedRequest;
  /** Whether the answer was asked to hold token counts; without them its work is measured by time. */
  readonly asksTokens: boolean;
}

/**
 * Reads the JSON of an `infer` body, up to `Inference-Header-Content-Length` where tensors follow in binary. Never throws: what cannot be
 * read is the engine's to refuse.
 */
export function parseInferRequest(body: Buffer, model: string, headerLength: number | null): InferRequest {
  const unread = { parsed: { ...NOTHING_KNOWN, model, stream: false }, asksTokens: false };
  const length = headerLength ?? body.length;
  if (length > JSON_BYTES_MAX || length > body.length) return unread;
  let document: unknown;
  try {
    document = JSON.parse(body.toString('utf8', 0, length));
  } catch {
    return unread;
  }
  const inputs = readTensors(asObject(document)?.['inputs']);
  const outputs = readTensors(asObject(document)?.['outputs']);
  const find = (names: readonly string[]): number | null => {
    const tensor = inputs.find(({ name }) => names.includes(name));
    return tensor === undefined ? null : readCount(flatten(tensor.data)[0]);
  };
  const prompts = flatten(inputs.find(({ name }) => name === 'text_input')?.data);
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
    asksTokens:
      outputs.some(({ name }) => asks(name)) ||
      inputs.some(({ name }) => (TOKEN_SWITCHES as readonly string[]).includes(name)),
  };
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
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** The tensors of `inputs` or `outputs`; what is none is left out. */
export function readTensors(list: unknown): readonly JsonTensor[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    const tensor = asObject(entry);
    if (tensor === null) return [];
    const { name, datatype, data } = tensor;
    const parameters = asObject(tensor['parameters']) ?? {};
    return [{ name: String(name ?? ''), datatype: String(datatype ?? ''), data, parameters }];
  });
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
