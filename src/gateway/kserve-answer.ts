// What KServe answers say about themselves as their bytes pass: token counts, generated text, errors. The counts that the gateway itself
// asked for are taken out again; every other byte passes as it came.
import type { AnswerTexts } from './answer-text.ts';
import type { AnswerObserver } from './observe-answer.ts';
import {
  countSequences,
  type GenerateCounting,
  PLAIN_GENERATE,
  readTensorUsage,
  readTexts,
  readUsageOf,
  stripCounts,
} from './kserve-reply-counts.ts';
import { readTensors } from './kserve-request.ts';
import { WholeObserver } from './observe-whole.ts';
import { isWholeEvent } from './read-event.ts';
import { asObject, type ReportedUsage } from './read-usage.ts';
import { type EventCut, SseScanner } from './sse-scanner.ts';
import { type CountingRequest, PLAIN_COUNTING } from './triton-counts.ts';

/** Larger documents pass unread, but for their last bytes. */
const JSON_BYTES_MAX = 1024 * 1024;

const TEXT = /"text_output"\s*:\s*(?:\[\s*)?"[^"]/;
const ERROR = /^(?:data: ?)?\s*\{\s*"error"\s*:/;

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
  readonly #counting: GenerateCounting;
  readonly #scanner: SseScanner;
  /** Counts are taken out of events. */
  readonly changesLength: boolean;
  #text = '';
  #sequences = 0;

  /** `switches`: what the gateway added to the request, and takes out of every event. `keepsText`: it will have to be counted. */
  constructor(switches: readonly string[], keepsText = false, counting: GenerateCounting = PLAIN_GENERATE) {
    this.#switches = switches;
    this.#keepsText = keepsText;
    this.changesLength = switches.length > 0;
    this.#counting = counting;
    this.#scanner = new SseScanner(
      (bytes, start, end) => this.#readEvent(bytes, start, end),
      this.changesLength ? 'filter' : 'observe',
    );
  }

  /** The text so far where it is kept; null too for one too long to keep. */
  get texts(): AnswerTexts | null {
    return this.#keepsText && this.#text.length <= JSON_BYTES_MAX ? { output: [this.#text], reasoning: [] } : null;
  }

  get sequences(): number | undefined {
    return this.#sequences === 0 ? undefined : this.#sequences;
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
    const counts = readUsageOf(text, this.#counting, () => event.subarray(event.indexOf('{')));
    this.#sequences = Math.max(
      this.#sequences,
      countSequences(text, () => event.subarray(event.indexOf('{'))),
    );
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
  readonly #counting: GenerateCounting;
  #parts: Buffer[] = [];
  #length = 0;
  #rest: Buffer | null = null;

  constructor(switches: readonly string[], counting: GenerateCounting = PLAIN_GENERATE) {
    super();
    this.#switches = switches;
    this.#counting = counting;
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
    this.usage = readUsageOf(text, this.#counting, () => bytes);
    const sequences = countSequences(text, () => bytes);
    if (sequences > 0) this.sequences = sequences;
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
  readonly #request: CountingRequest;
  #parts: Buffer[] = [];
  #kept = 0;

  /** `headerLength` as the answer's header says it; null for plain JSON. */
  constructor(headerLength: number | null, request: CountingRequest = PLAIN_COUNTING) {
    super();
    this.#headerLength = headerLength;
    this.#request = request;
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
    const binary = bytes.subarray(this.#headerLength ?? bytes.length);
    const outputs = readTensors(asObject(document)?.['outputs'], binary);
    this.usage = readTensorUsage(outputs, this.#request);
    return null;
  }
}

function addCounts(left: number | null, right: number | null): number | null {
  return left === null ? right : right === null ? left : left + right;
}
