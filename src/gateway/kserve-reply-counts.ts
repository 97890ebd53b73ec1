// The counts in a KServe answer, by `generate`'s fields or `infer`'s tensors: what they say, and how to take out those that the gateway
// asked for. What they mean is triton-counts', how an answer passes kserve-answer's.
import { flatten, type JsonTensor, readElements } from './kserve-request.ts';
import { readElementNumber } from './raw-elements.ts';
import { asObject, isCount, type ReportedUsage } from './read-usage.ts';
import {
  type CountingRequest,
  PLAIN_COUNTING,
  readReplyUsage,
  type ReplyContent,
  type ReplyCounts,
} from './triton-counts.ts';

/** The whole value of a count: a number, a text of digits (LLM-API models send numbers as text), or a list of numbers. */
const COUNT_VALUE = String.raw`(?:"(\d{1,15})"|(\d{1,15})|\[(\s*\d[\d\s,]{0,4096})\])(?=\s*[,}])`;

/** One count in the bytes of an answer. A name inside a generated text has its quotes escaped, so it is never taken for one. */
interface CountField {
  /** The count the switch of the request asks for. */
  readonly requestedBy: string;
  readonly isInput: boolean;
  readonly value: RegExp;
  /** The member with one of the commas beside it. */
  readonly member: RegExp;
}

const COUNT_FIELDS: readonly CountField[] = ['num_input_tokens', 'num_output_tokens'].map((name) => ({
  requestedBy: `return_${name}`,
  isInput: name === 'num_input_tokens',
  value: new RegExp(String.raw`"${name}"\s*:\s*${COUNT_VALUE}`),
  member: new RegExp(
    String.raw`"${name}"\s*:\s*${COUNT_VALUE}\s*,\s*|\s*,\s*"${name}"\s*:\s*${COUNT_VALUE}|"${name}"\s*:\s*${COUNT_VALUE}`,
  ),
}));

/** The counts that stand in the latin1 text of a document or event; each null where it is not said. */
function readCounts(text: string): { readonly input: number | null; readonly output: number | null } {
  const counts: { input: number | null; output: number | null } = { input: null, output: null };
  for (const { isInput, value } of COUNT_FIELDS) {
    const match = value.exec(text);
    if (match === null) continue;
    const [, quoted, plain, list] = match;
    counts[isInput ? 'input' : 'output'] = sumCounts((quoted ?? plain ?? list ?? '').split(',').map(Number));
  }
  return counts;
}

/** What decides how the counts of a `generate` answer are to be read. */
export interface GenerateCounting {
  readonly request: CountingRequest;
  /** Whether the model is TensorRT-LLM's by its inputs; null where they are not known. */
  readonly isTensorrtLlm: boolean | null;
}

/** Counts are taken as they are said. */
export const PLAIN_GENERATE: GenerateCounting = { request: PLAIN_COUNTING, isTensorrtLlm: null };

/** Lengths of sequences, which the C++ model says where it is not asked to count. */
const LENGTHS = '"sequence_length"';

/** Usage of one document or event; `document` is parsed only where its counts may hold the prompt, or are lengths of sequences. */
export function readUsageOf(
  text: string,
  { request, isTensorrtLlm }: GenerateCounting,
  document: () => Buffer,
): ReportedUsage | null {
  const { input, output } = readCounts(text);
  const fields = (): Readonly<Record<string, unknown>> | null => parseDocument(document());
  const lengths =
    output === null && text.includes(LENGTHS) ? flatten(fields()?.['sequence_length']).map(readElementNumber) : [];
  const reply = { inputTokens: input, outputTokens: output ?? sumCounts(lengths), isTensorrtLlm };
  return readReplyUsage(request, reply, () => {
    const { text_output, output_ids } = fields() ?? {};
    return describeContent(flatten(text_output), flatten(output_ids));
  });
}

function describeContent(texts: readonly unknown[], ids: readonly unknown[]): ReplyContent {
  const [text] = texts;
  return {
    text: typeof text === 'string' ? text : null,
    outputIds: ids.length > 0 ? ids.map(readElementNumber) : null,
  };
}

/** The sum of counts; null where there is none, or one that is none. */
function sumCounts(counts: readonly number[]): number | null {
  if (counts.length === 0 || !counts.every(isCount)) return null;
  return counts.reduce((sum, count) => sum + count, 0);
}

function parseDocument(bytes: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    return asObject(JSON.parse(bytes.toString('utf8')));
  } catch {
    // No document: it says nothing.
    return null;
  }
}

/** The bytes without the counts that `switches` asked for. */
export function stripCounts(bytes: Buffer, switches: readonly string[]): Buffer {
  let text = bytes.toString('latin1');
  for (const { requestedBy, member } of COUNT_FIELDS) {
    if (switches.includes(requestedBy)) text = text.replace(member, '');
  }
  return text.length === bytes.length ? bytes : Buffer.from(text, 'latin1');
}

/** Usage that the tensors of an `infer` answer say; TensorRT-LLM counts in INT32, vLLM's backend in UINT32. */
export function readTensorUsage(outputs: readonly JsonTensor[], request: CountingRequest): ReportedUsage | null {
  const find = (name: string): JsonTensor | undefined => outputs.find((tensor) => tensor.name === name);
  const read = (name: string): readonly unknown[] => {
    const tensor = find(name);
    return tensor === undefined ? [] : readElements(tensor);
  };
  const sum = (name: string): number | null => sumCounts(read(name).map(readElementNumber));
  const counts = find('num_output_tokens') ?? find('sequence_length');
  const reply: ReplyCounts = {
    inputTokens: sum('num_input_tokens'),
    outputTokens: sum('num_output_tokens') ?? sum('sequence_length'),
    isTensorrtLlm: counts === undefined ? null : counts.datatype === 'INT32',
  };
  return readReplyUsage(request, reply, () => describeContent(read('text_output'), read('output_ids')));
}

/** The texts of `text_output` in a JSON document; null where it has none. */
export function readTexts(bytes: Buffer): readonly string[] | null {
  const strings = flatten(parseDocument(bytes)?.['text_output']).filter((text) => typeof text === 'string');
  return strings.length === 0 ? null : strings;
}

const SEQUENCE_INDEX = /"sequence_index"\s*:\s*\[?\s*"?(\d{1,6})/;
const TEXT_LIST = /"text_output"\s*:\s*\[/;

/**
 * Sequences that a document or event tells of, by its texts or by the number of its own; 0 where it holds no text. What the fields of `generate` ask
 * for need not be so: those that are no inputs of the model are ignored.
 */
export function countSequences(text: string, document: () => Buffer): number {
  if (!text.includes('"text_output"')) return 0;
  const texts = TEXT_LIST.test(text) ? (readTexts(document())?.length ?? 1) : 1;
  return Math.max(texts, Number(SEQUENCE_INDEX.exec(text)?.[1] ?? 0) + 1);
}
