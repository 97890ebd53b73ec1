// What the gateway reads of KServe's inference messages and the few it writes itself. Field numbers are the published interface
// (triton-inference-server/common, protobuf/grpc_service.proto); what is not named here passes unread.
import { takesTokens } from '#gateway/kserve-request.ts';
import { readRawBools, readRawIntegers, readRawText } from '#gateway/raw-elements.ts';
import type { ReportedUsage } from '#gateway/read-usage.ts';
import { type CountingRequest, readReplyUsage, readStart } from '#gateway/triton-counts.ts';
import {
  BYTES,
  encodeBytesField,
  encodeVarintField,
  FieldBudget,
  readFields,
  readNumber,
  readNumbers,
  readText,
  replaceTextField,
  sliceValue,
  VARINT,
  type WireField,
} from './protobuf-reader.ts';

/** Facts of one ModelInferRequest. */
export interface InferRequestFacts {
  readonly modelName: string;
  readonly id: string;
  /** Whether the answer will say token counts: asked by input or by requested output, or because the model takes and gives tokens. */
  readonly countsTokens: boolean;
  /** How the answer will count. */
  readonly counting: CountingRequest;
  /** The first value of the input `max_tokens`; null without. */
  readonly maxTokens: number | null;
  /** Bytes of the input `text_input`; 0 without. */
  readonly promptTextBytes: number;
  /** The client itself wants the empty reply that marks the end of a decoupled request. */
  readonly wantsEmptyFinal: boolean;
}

/** Facts of one ModelInferResponse. */
export interface InferAnswerFacts {
  readonly id: string;
  /** `triton_final_response`; null where the server says nothing of it. */
  readonly isFinal: boolean | null;
  /** Neither outputs nor contents: only the mark of the end. */
  readonly isEmpty: boolean;
  /** Counts of this reply; null where it has none. */
  readonly usage: ReportedUsage | null;
}

/** Facts of one ModelStreamInferResponse. */
export interface StreamAnswerFacts extends InferAnswerFacts {
  /** `''` where the reply is no error. */
  readonly errorMessage: string;
}

const EMPTY_FINAL = 'triton_enable_empty_final_response';
const FINAL = 'triton_final_response';
/** Inputs of the models that count tokens, and the outputs with the counts (upstreams.md §3.2). */
const TOKEN_SWITCHES = new Set(['return_num_input_tokens', 'return_num_output_tokens']);
const TOKEN_OUTPUTS = new Set(['num_input_tokens', 'num_output_tokens']);
const MAX_TOKENS = new Set(['max_tokens', 'request_output_len', 'sampling_param_max_tokens']);

interface Tensor {
  readonly name: string;
  readonly datatype: string;
  /** InferTensorContents, empty where the contents are raw. */
  readonly contents: Buffer | null;
}

/** Reads a ModelInferRequest. Throws MalformedMessageError. */
export function readInferRequest(message: Buffer): InferRequestFacts {
  let modelName = '';
  let id = '';
  let asksTokens = false;
  let wantsEmptyFinal = false;
  const inputs: Tensor[] = [];
  const raw: Buffer[] = [];
  const budget = new FieldBudget();
  for (const field of readFields(message, budget)) {
    if (field.wireType !== BYTES) continue;
    if (field.number === 1) modelName = readText(message, field);
    else if (field.number === 3) id = readText(message, field);
    else if (field.number === 4) wantsEmptyFinal ||= readFlag(sliceValue(message, field), EMPTY_FINAL, budget) === true;
    else if (field.number === 5) inputs.push(readTensor(sliceValue(message, field), budget));
    else if (field.number === 6) asksTokens ||= TOKEN_OUTPUTS.has(readTensor(sliceValue(message, field), budget).name);
    else if (field.number === 7) raw.push(sliceValue(message, field));
  }
  const tensors = pairContents(inputs, raw);
  const limit = tensors.find(({ name }) => MAX_TOKENS.has(name));
  const prompt = tensors.find(({ name }) => name === 'text_input');
  return {
    modelName,
    id,
    countsTokens:
      asksTokens || takesTokens(inputs.map(({ name }) => name)) || inputs.some(({ name }) => TOKEN_SWITCHES.has(name)),
    counting: describeCounting(tensors, limit),
    maxTokens: limit === undefined ? null : (readIntegers(limit)[0] ?? null),
    promptTextBytes: prompt === undefined ? 0 : measureText(prompt),
    wantsEmptyFinal,
  };
}

function describeCounting(tensors: readonly FilledTensor[], limit: FilledTensor | undefined): CountingRequest {
  const find = (...names: string[]): FilledTensor | undefined => tensors.find(({ name }) => names.includes(name));
  const readFirst = (tensor: FilledTensor | undefined): number | null =>
    tensor === undefined ? null : (readIntegers(tensor)[0] ?? null);
  const ids = find('input_ids');
  return {
    excludesInput: readTruth(find('exclude_input_in_output')),
    streams: readTruth(find('stream', 'streaming')) === true,
    maxTokens: readFirst(limit),
    beams: readFirst(find('beam_width')) ?? 1,
    promptStart: readStart(readFirstText(find('text_input')) ?? ''),
    inputIds: ids === undefined ? null : readIntegers(ids),
    inputLength: readFirst(find('input_lengths')),
  };
}

/** Reads a ModelInferResponse. Throws MalformedMessageError. */
export function readInferAnswer(message: Buffer, findCounting: FindCounting): InferAnswerFacts {
  let id = '';
  let isFinal: boolean | null = null;
  const outputs: Tensor[] = [];
  const raw: Buffer[] = [];
  const budget = new FieldBudget();
  for (const field of readFields(message, budget)) {
    if (field.wireType !== BYTES) continue;
    if (field.number === 3) id = readText(message, field);
    else if (field.number === 4) isFinal = readFlag(sliceValue(message, field), FINAL, budget) ?? isFinal;
    else if (field.number === 5) outputs.push(readTensor(sliceValue(message, field), budget));
    else if (field.number === 6) raw.push(sliceValue(message, field));
  }
  const usage = readTensorUsage(pairContents(outputs, raw), findCounting(id));
  return { id, isFinal, isEmpty: outputs.length === 0 && raw.length === 0, usage };
}

/** TensorRT-LLM counts in INT32, vLLM's backend in UINT32. */
function readTensorUsage(tensors: readonly FilledTensor[], request: CountingRequest): ReportedUsage | null {
  const find = (wanted: string): FilledTensor | undefined => tensors.find(({ name }) => name === wanted);
  const sum = (tensor: FilledTensor | undefined): number | null => {
    const counts = tensor === undefined ? [] : readIntegers(tensor);
    return counts.length === 0 ? null : counts.reduce((total, count) => total + count, 0);
  };
  const counts = find('num_output_tokens') ?? find('sequence_length');
  const reply = {
    inputTokens: sum(find('num_input_tokens')),
    outputTokens: sum(counts),
    isTensorrtLlm: counts === undefined ? null : counts.datatype === 'INT32',
  };
  return readReplyUsage(request, reply, () => {
    const ids = find('output_ids');
    return {
      text: readFirstText(find('text_output')),
      outputIds: ids === undefined ? null : readIntegers(ids),
    };
  });
}

/** How the answer to a request counts, by its id. */
export type FindCounting = (id: string) => CountingRequest;

/** Reads a ModelStreamInferResponse: an error, an answer, or an error with the answer that names its request. */
export function readStreamAnswer(message: Buffer, findCounting: FindCounting): StreamAnswerFacts {
  let errorMessage = '';
  let answer: InferAnswerFacts = { id: '', isFinal: null, isEmpty: true, usage: null };
  for (const field of readFields(message)) {
    if (field.wireType !== BYTES) continue;
    if (field.number === 1) errorMessage = readText(message, field);
    else if (field.number === 2) answer = readInferAnswer(sliceValue(message, field), findCounting);
  }
  return { ...answer, errorMessage };
}

/** The text of one field: `name` of a model request is field 1, `model_name` of a repository request field 2. */
export function readNameField(message: Buffer, number: number): string {
  let name = '';
  for (const field of readFields(message)) {
    if (field.number === number && field.wireType === BYTES) name = readText(message, field);
  }
  return name;
}

/** A request under the name that its engine knows; in every request that names a model first, the name is field 1. */
export function renameModel(message: Buffer, servedModel: string): Buffer {
  return replaceTextField(message, 1, servedModel);
}

/** Asks for the reply that marks the end of a decoupled request, which Triton else leaves out when it is empty. */
export function askEmptyFinal(message: Buffer): Buffer {
  const isTrue = encodeVarintField(1, 1);
  const entry = Buffer.concat([encodeBytesField(1, EMPTY_FINAL), encodeBytesField(2, isTrue)]);
  return Buffer.concat([message, encodeBytesField(4, entry)]);
}

/** ModelStreamInferResponse that refuses one request of a stream and names it. */
export function encodeStreamError(text: string, id: string): Buffer {
  const answer = id === '' ? Buffer.alloc(0) : encodeBytesField(2, encodeBytesField(3, id));
  return Buffer.concat([encodeBytesField(1, text), answer]);
}

/** ServerLiveResponse, ServerReadyResponse and ModelReadyResponse; false is the empty message. */
export function encodeReady(ready: boolean): Buffer {
  return ready ? encodeVarintField(1, 1) : Buffer.alloc(0);
}

function readTensor(bytes: Buffer, budget: FieldBudget): Tensor {
  let name = '';
  let datatype = '';
  let contents: Buffer | null = null;
  for (const field of readFields(bytes, budget)) {
    if (field.wireType !== BYTES) continue;
    if (field.number === 1) name = readText(bytes, field);
    else if (field.number === 2) datatype = readText(bytes, field);
    else if (field.number === 5) contents = sliceValue(bytes, field);
  }
  return { name, datatype, contents };
}

interface FilledTensor extends Tensor {
  readonly raw: Buffer | null;
}

/** Raw contents stand in the order of their tensors; with raw contents no tensor has others. */
function pairContents(tensors: readonly Tensor[], raw: readonly Buffer[]): FilledTensor[] {
  return tensors.map((tensor, index) => ({ ...tensor, raw: raw[index] ?? null }));
}

function readIntegers(tensor: FilledTensor): number[] {
  if (tensor.raw !== null) return readRawIntegers(tensor.raw, tensor.datatype).filter(isCount);
  if (tensor.contents === null) return [];
  const numbers: number[][] = [];
  for (const field of readFields(tensor.contents)) {
    // int_contents 2, int64_contents 3, uint_contents 4, uint64_contents 5.
    if (field.number >= 2 && field.number <= 5 && isInteger(field)) numbers.push(readNumbers(tensor.contents, field));
  }
  return numbers.flat().filter(isCount);
}

/** The first truth of a tensor; null without one. */
function readTruth(tensor: FilledTensor | undefined): boolean | null {
  if (tensor === undefined) return null;
  if (tensor.raw !== null) return readRawBools(tensor.raw)[0] ?? null;
  if (tensor.contents === null) return null;
  // bool_contents 1.
  const field = readFields(tensor.contents).find(({ number }) => number === 1);
  return field === undefined ? null : (readNumbers(tensor.contents, field)[0] ?? 0) !== 0;
}

/** The first text of a BYTES tensor; null without one. */
function readFirstText(tensor: FilledTensor | undefined): string | null {
  if (tensor === undefined) return null;
  if (tensor.raw !== null) return readRawText(tensor.raw)[0] ?? null;
  if (tensor.contents === null) return null;
  // bytes_contents 8.
  const field = readFields(tensor.contents).find(({ number, wireType }) => number === 8 && wireType === BYTES);
  return field === undefined ? null : readText(tensor.contents, field);
}

/** Outside raw contents a negative integer reads as one above 2^31 or 2^63: no count either. */
function isCount(value: number): boolean {
  return value >= 0 && value < 2 ** 31;
}

function isInteger({ wireType }: WireField): boolean {
  return wireType === VARINT || wireType === BYTES;
}

/** Bytes of the texts of a BYTES tensor; raw ones are each preceded by their length in four bytes. */
function measureText({ raw, contents }: FilledTensor): number {
  if (raw !== null) return Math.max(0, raw.length - 4);
  if (contents === null) return 0;
  let bytes = 0;
  for (const field of readFields(contents)) if (field.number === 8) bytes += field.end - field.valueStart;
  return bytes;
}

/** The bool of one entry of a `map<string, InferParameter>`; undefined for another key or another type. */
function readFlag(entry: Buffer, key: string, budget: FieldBudget): boolean | undefined {
  let isKey = false;
  let flag: boolean | undefined;
  for (const field of readFields(entry, budget)) {
    if (field.number === 1 && field.wireType === BYTES) isKey = readText(entry, field) === key;
    else if (field.number === 2 && field.wireType === BYTES) {
      flag = false;
      const value = sliceValue(entry, field);
      for (const choice of readFields(value, budget)) {
        if (choice.number === 1 && choice.wireType === VARINT) flag = readNumber(value, choice) !== 0;
      }
    }
  }
  return isKey ? flag : undefined;
}
