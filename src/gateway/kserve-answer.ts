// What KServe answers say about themselves as their bytes pass: token counts, generated text, errors. The counts that the gateway itself
// asked for are taken out again; every other byte passes as it came.
import type { AnswerTexts } from './answer-text.ts';
import type { AnswerObserver } from './observe-answer.ts';
import { readRawIntegers } from './raw-integers.ts';
import { addUsage, asObject, type ReportedUsage } from './read-usage.ts';
import { flatten, type JsonTensor, readTensors } from './kserve-request.ts';
import { WholeObserver } from './observe-whole.ts';
import { isWholeEvent } from './read-event.ts';
import { type EventCut, SseScanner } from './sse-scanner.ts';

/** Larger documents pass unread, but for their last bytes. */
const JSON_BYTES_MAX = 1024 * 1024;

/** The value of a count: a number, a text of digits (LLM-API models send numbers as text), or a list of numbers. */
const COUNT_VALUE = String.raw`(?:"(\d{1,15})"|(\d{1,15})|\[([\d\s,]{0,4096})\])`;

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

const TEXT = /"text_output"\s*:\s*(?:\[\s*)?"[^"]/;
const ERROR = /^(?:data: ?)?\s*\{\s*"error"\s*:/;

/** The counts that stand in the latin1 text of a document or event; null for none. */
function readCounts(text: string): ReportedUsage | null {
  let usage: ReportedUsage | null = null;
  for (const { isInput, value } of COUNT_FIELDS) {
    const match = value.exec(text);
    if (match === null) continue;
    const [, quoted, plain, list] = match;
    const count = (quoted ?? plain ?? list ?? '').split(',').reduce((sum, part) => sum + Number(part), 0);
    const said = { prompt: isInput ? count : null, cached: null, completion: isInput ? null : count, reasoning: null };
    usage = usage === null ? said : addUsage(usage, said);
  }
  return usage;
}

/** The bytes without the counts that `switches` asked for. */
function stripCounts(bytes: Buffer, switches: readonly string[]): Buffer {
  let text = bytes.toString('latin1');
  for (const { requestedBy, member } of COUNT_FIELDS) {
    if (switches.includes(requestedBy)) text = text.replace(member, '');
  }
  return text.length === bytes.length ? bytes : Buffer.from(text, 'latin1');
}

/**
 * Observes `generate_stream`: one event per reply, counts of output tokens per event, those of the input repeated in each
 * (upstreams.md §2.3, §3.2), no `[DONE]`; an error is an event too, with status 200.
 */
export class GenerateStreamObserver implements AnswerObserver {
  steps = 0;
  contentEvents = 0;
  readonly isLast = false;
  readonly isFinished = false;
  isFailed = false;
  readonly contentBytes = null;
  usage: ReportedUsage | null = null;
  readonly #switches: readonly string[];
  readonly #keepsText: boolean;
  readonly #scanner: SseScanner;
  /** Counts are taken out of events. */
  readonly changesLength: boolean;
  #text = '';

  /** `switches`: what the gateway added to the request, and takes out of every event. `keepsText`: it will have to be counted. */
  constructor(switches: readonly string[], keepsText = false) {
    this.#switches = switches;
    this.#keepsText = keepsText;
    this.changesLength = switches.length > 0;
    this.#scanner = new SseScanner(
      (bytes, start, end) => this.#readEvent(bytes, start, end),
      this.changesLength ? 'filter' : 'observe',
    );
  }

  /** The text so far where it is kept; null too for one too long to keep. */
  get texts(): AnswerTexts | null {
    return this.#keepsText && this.#text.length <= JSON_BYTES_MAX ? { output: [this.#text], reasoning: [] } : null;
  }

  get atBoundary(): boolean {
    return this.#scanner.atBoundary;
  }

  get isTorn(): boolean {
    return this.#scanner.isTorn;
  }

  observe(chunk: Buffer): Buffer | null {
    this.steps = 0;
    return this.#scanner.scan(chunk);
  }

  end(): Buffer | null {
    this.steps = 0;
    return this.#scanner.end(isWholeEvent);
  }

  #readEvent(bytes: Buffer, start: number, end: number): boolean | EventCut {
    const event = bytes.subarray(start, end);
    const text = event.toString('latin1');
    if (ERROR.test(text)) this.isFailed = true;
    const counts = readCounts(text);
    const hasText = TEXT.test(text);
    if (counts !== null) {
      const completion = addCounts(this.usage?.completion ?? null, counts.completion);
      this.usage = { prompt: counts.prompt ?? this.usage?.prompt ?? null, cached: null, completion, reasoning: null };
    }
    if (hasText && this.#keepsText && this.#text.length <= JSON_BYTES_MAX) {
      this.#text += readTexts(event.subarray(event.indexOf('{')))?.join('') ?? '';
    }
    if (hasText || (counts?.completion ?? 0) > 0) {
      this.steps += Math.max(1, counts?.completion ?? 1);
      this.contentEvents += 1;
    }
    if (!this.changesLength || counts === null) return false;
    return { start, end, replacement: stripCounts(event, this.#switches) };
  }
}

/** Observes `generate`: one JSON document. Held back to its end only where counts have to be taken out of it. */
export class GenerateObserver extends WholeObserver {
  /** Whether the answer may get shorter on its way. */
  readonly changesLength: boolean;
  readonly #switches: readonly string[];
  #parts: Buffer[] = [];
  #length = 0;
  #rest: Buffer | null = null;

  constructor(switches: readonly string[]) {
    super();
    this.#switches = switches;
    this.changesLength = switches.length > 0;
  }

  observe(chunk: Buffer): Buffer | null {
    if (this.#length > JSON_BYTES_MAX) return chunk;
    this.#parts.push(chunk);
    this.#length += chunk.length;
    if (!this.changesLength) return chunk;
    if (this.#length <= JSON_BYTES_MAX) return null;
    return Buffer.concat(this.#parts.splice(0));
  }

  /** Returns what was held back, at every call the same. */
  end(): Buffer | null {
    if (this.isFinished) return this.#rest;
    this.isFinished = true;
    if (this.#length > JSON_BYTES_MAX) return null;
    const bytes = Buffer.concat(this.#parts.splice(0), this.#length);
    const text = bytes.toString('latin1');
    this.isFailed = ERROR.test(text);
    this.usage = readCounts(text);
    const texts = this.usage === null ? readTexts(bytes) : null;
    if (texts !== null) {
      this.texts = { output: texts, reasoning: [] };
      this.contentBytes = texts.reduce((sum, one) => sum + Buffer.byteLength(one), 0);
    }
    if (this.changesLength && bytes.length > 0) {
      this.#rest = this.usage === null ? bytes : stripCounts(bytes, this.#switches);
    }
    return this.#rest;
  }
}

/** Observes `infer`: JSON, after `Inference-Header-Content-Length` bytes followed by binary tensors. All bytes pass at once. */
export class InferObserver extends WholeObserver {
  readonly #headerLength: number | null;
  #parts: Buffer[] = [];
  #kept = 0;

  /** `headerLength` as the answer's header says it; null for plain JSON. */
  constructor(headerLength: number | null) {
    super();
    this.#headerLength = headerLength;
  }

  observe(chunk: Buffer): Buffer {
    if (this.#kept <= JSON_BYTES_MAX) this.#parts.push(chunk);
    this.#kept += chunk.length;
    return chunk;
  }

  end(): null {
    if (this.isFinished) return null;
    this.isFinished = true;
    const bytes = Buffer.concat(this.#parts.splice(0));
    let document: unknown;
    try {
      document = JSON.parse(bytes.toString('utf8', 0, this.#headerLength ?? bytes.length));
    } catch {
      // Rubbish, or more than is looked at: it passed as it came and says nothing.
      return null;
    }
    this.isFailed = asObject(document)?.['error'] !== undefined;
    this.usage = readTensorCounts(
      readTensors(asObject(document)?.['outputs']),
      bytes.subarray(this.#headerLength ?? bytes.length),
    );
    return null;
  }
}

/** Counts of JSON tensors and of binary ones, which follow one another in the order of `outputs` (Triton's binary data extension). */
function readTensorCounts(outputs: readonly JsonTensor[], binary: Buffer): ReportedUsage | null {
  let usage: ReportedUsage | null = null;
  let offset = 0;
  for (const { name, datatype, data, parameters } of outputs) {
    const size = Number(parameters['binary_data_size'] ?? 0);
    const raw = binary.subarray(offset, offset + size);
    offset += size;
    if (name !== 'num_input_tokens' && name !== 'num_output_tokens') continue;
    const values = size > 0 ? (raw.length === size ? readRawIntegers(raw, datatype) : []) : flatten(data).map(Number);
    if (values.length === 0 || !values.every((value) => Number.isSafeInteger(value) && value >= 0)) continue;
    const sum = values.reduce((total, value) => total + value, 0);
    const isInput = name === 'num_input_tokens';
    const said = { prompt: isInput ? sum : null, cached: null, completion: isInput ? null : sum, reasoning: null };
    usage = usage === null ? said : addUsage(usage, said);
  }
  return usage;
}

/** The texts of `text_output` in a JSON document; null where it has none. */
function readTexts(bytes: Buffer): readonly string[] | null {
  try {
    const texts = flatten(asObject(JSON.parse(bytes.toString('utf8')))?.['text_output']);
    const strings = texts.filter((text) => typeof text === 'string');
    return strings.length === 0 ? null : strings;
  } catch {
    return null;
  }
}

function addCounts(left: number | null, right: number | null): number | null {
  return left === null ? right : right === null ? left : left + right;
}
