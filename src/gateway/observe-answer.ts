// What an answer says about itself as its bytes pass: content, usage, errors, its end. One observer per kind of answer.
import { type AnswerTexts, measureTexts, readAnswerTexts, StreamText } from './answer-text.ts';
import { StreamCount } from './count-stream.ts';
import { findEventUsage } from './event-usage.ts';
import { listMembers } from './json-members.ts';
import type { RouteShape } from './metered-routes.ts';
import { EventReader, parseEventData } from './read-event.ts';
import { asObject, readUsage, type ReportedUsage } from './read-usage.ts';
import type { UsageRemoval } from './sent-body.ts';
import { type EventCut, SseScanner } from './sse-scanner.ts';
import { StreamUsage } from './stream-usage.ts';

/** Watches the body of one answer. */
export interface AnswerObserver {
  /** Whether bytes may be taken out of an answer that is no stream, so that its length is not the engine's; absent means no. */
  readonly changesLength?: boolean;
  /** Takes a chunk, returns the bytes to pass on now. `steps` then holds the content-bearing events that ended in it. */
  observe(chunk: Buffer): Buffer | null;
  /** The body is complete: returns bytes held back, null for none. Usage and failure are final afterwards. */
  end(): Buffer | null;
  readonly steps: number;
  /** Content-bearing events so far. */
  readonly contentEvents: number;
  /** What they tell of the number of tokens; absent where the answer is no stream of an inference route. */
  readonly count?: StreamCount;
  /** The event after which a client may hang up was seen. */
  readonly isLast: boolean;
  /** The engine said that a sequence ended as it should. */
  readonly isFinished: boolean;
  /** The answer carries an error in its body, whatever its status. */
  readonly isFailed: boolean;
  /** Null where the answer said none. */
  readonly usage: ReportedUsage | null;
  /** Bytes of generated text in an answer that does not stream; null where unknown. */
  readonly contentBytes: number | null;
  /** Generated texts, where they are kept because they may be counted; null or absent otherwise. */
  readonly texts?: AnswerTexts | null;
  /** Whether the bytes passed on so far end between two events; true for answers that are no stream. */
  readonly atBoundary: boolean;
  /** The number that the next event would have, in streams that number their events; absent where they do not. */
  readonly nextSequence?: number;
}

export interface StreamObserverOptions {
  readonly shape: RouteShape;
  readonly promptCount: number;
  readonly sequences: number;
  /** What to take out, because the gateway asked for it. */
  readonly removal: UsageRemoval;
  /** Whether the engine writes `"usage":null` where it says none. Default: it leaves usage out. */
  readonly saysNullUsage?: boolean;
  /** Keep the generated text, to be counted at the end. Default: no. */
  readonly keepsText?: boolean;
}

const NULL = Buffer.from('null');

/** A name inside a text has its quotes escaped, so it is never taken for one. */
const SEQUENCE = /"sequence_number"\s*:\s*(\d{1,15})/;

/** Observes a server-sent event stream. */
export class StreamObserver implements AnswerObserver {
  steps = 0;
  readonly count = new StreamCount();
  isLast = false;
  isFinished = false;
  isFailed = false;
  readonly contentBytes = null;
  readonly #reader: EventReader;
  readonly #usage: StreamUsage;
  readonly #scanner: SseScanner;
  readonly #removal: UsageRemoval;
  /** What stands in place of a running count that was cut out; null where the whole member goes. */
  readonly #noUsage: Buffer | null;
  readonly #text: StreamText | null;
  readonly #numbersEvents: boolean;
  #lastEvent = '';

  constructor(options: StreamObserverOptions) {
    this.#reader = new EventReader(options.shape);
    this.#usage = new StreamUsage(options);
    this.#text = options.keepsText === true ? new StreamText(options.shape) : null;
    this.#numbersEvents = options.shape === 'response';
    this.#removal = options.removal;
    this.#noUsage = options.saysNullUsage === true ? NULL : null;
    this.#scanner = new SseScanner(
      (bytes, start, end) => this.#readEvent(bytes, start, end),
      options.removal.chunk || options.removal.running ? 'filter' : 'observe',
    );
  }

  get usage(): ReportedUsage | null {
    return this.#usage.read();
  }

  get contentEvents(): number {
    return this.count.events;
  }

  get texts(): AnswerTexts | null {
    return this.#text === null ? null : this.#text.read();
  }

  get atBoundary(): boolean {
    return this.#scanner.atBoundary;
  }

  get nextSequence(): number {
    const said = SEQUENCE.exec(this.#lastEvent)?.[1];
    return said === undefined ? 0 : Number(said) + 1;
  }

  observe(chunk: Buffer): Buffer | null {
    this.steps = 0;
    return this.#scanner.scan(chunk);
  }

  end(): Buffer | null {
    this.steps = 0;
    return this.#scanner.end();
  }

  /** Returns what to take out of the event. */
  #readEvent(bytes: Buffer, start: number, end: number): boolean | EventCut {
    const text = bytes.toString('latin1', start, end);
    if (this.#numbersEvents) this.#lastEvent = text;
    const hasContent = this.#reader.hasContent(text);
    if (hasContent) {
      this.steps += 1;
      this.count.add(text, this.#reader.measureContent(text));
    }
    if (!this.isFinished && this.#reader.hasFinish(text)) this.isFinished = true;
    if (!this.isLast && this.#reader.isLast(text)) this.isLast = true;
    const keepsText = hasContent && this.#text !== null;
    if (this.#removal.running && this.#reader.hasUsage(text)) {
      const verdict = this.#readRunningUsage(bytes, start, end);
      if (verdict !== null) {
        if (keepsText) this.#text?.add(parseEventData(bytes.toString('utf8', start, end)));
        return verdict;
      }
    }
    const needsParsing = this.#reader.needsParsing(text);
    if (!keepsText && !needsParsing) return false;
    const payload = parseEventData(bytes.toString('utf8', start, end));
    if (keepsText) this.#text?.add(payload);
    if (!needsParsing) return false;
    if (isErrorPayload(payload)) this.isFailed = true;
    return this.#usage.add(payload) && this.#removal.chunk;
  }

  /** Running counts stand in every event: they are found in its bytes, the rest is not parsed. Null where it holds none. */
  #readRunningUsage(bytes: Buffer, start: number, end: number): boolean | EventCut | null {
    const found = findEventUsage(bytes, start, end);
    if (found === null) return null;
    if (this.#usage.addFound(found)) return this.#removal.chunk;
    if (!this.#removal.running || found.hasChoices !== true) return false;
    const { start: from, end: to } = this.#noUsage === null ? found.member : found.value;
    return { start: from, end: to, replacement: this.#noUsage };
  }
}

/** Bodies up to this size are parsed whole at their end; of larger ones only the last bytes are searched for usage. */
const PARSED_BYTES_MAX = 1024 * 1024;
const TAIL_BYTES = 64 * 1024;

/** Observes an answer that is one JSON document; its bytes pass on unchanged. */
export class JsonObserver implements AnswerObserver {
  readonly steps = 0;
  readonly contentEvents = 0;
  readonly isLast = false;
  readonly atBoundary = true;
  isFinished = false;
  isFailed = false;
  usage: ReportedUsage | null = null;
  contentBytes: number | null = null;
  texts: AnswerTexts | null = null;
  readonly #keepsText: boolean;
  #parts: Buffer[] = [];
  #partsLength = 0;
  #isCut = false;
  #isEnded = false;

  /** With `keepsText` the generated texts can be had at the end of an answer without usage. */
  constructor(options: { readonly keepsText?: boolean } = {}) {
    this.#keepsText = options.keepsText === true;
  }

  observe(chunk: Buffer): Buffer {
    this.#parts.push(chunk);
    this.#partsLength += chunk.length;
    if (this.#partsLength > PARSED_BYTES_MAX || (this.#isCut && this.#partsLength > 2 * TAIL_BYTES)) {
      const tail = Buffer.concat(this.#parts).subarray(-TAIL_BYTES);
      this.#parts = [Buffer.from(tail)];
      this.#partsLength = tail.length;
      this.#isCut = true;
    }
    return chunk;
  }

  end(): null {
    if (this.#isEnded) return null;
    this.#isEnded = true;
    const text = Buffer.concat(this.#parts).toString('utf8');
    this.#parts = [];
    if (this.#isCut) {
      this.usage = readUsage(parseTailUsage(text));
      this.isFinished = true;
      return null;
    }
    const payload = parseJson(text);
    this.isFinished = payload !== undefined;
    this.isFailed = isErrorPayload(payload);
    this.usage = readUsage(payload);
    if (this.usage !== null) return null;
    const texts = readAnswerTexts(payload);
    this.contentBytes = measureTexts(texts);
    if (this.#keepsText) this.texts = texts;
    return null;
  }
}

/** Observes what cannot be read: encoded, binary or foreign bodies. */
export class OpaqueObserver implements AnswerObserver {
  readonly steps = 0;
  readonly contentEvents = 0;
  readonly isLast = false;
  readonly isFinished = true;
  readonly isFailed = false;
  readonly usage = null;
  readonly contentBytes = null;
  readonly atBoundary = true;

  observe(chunk: Buffer): Buffer {
    return chunk;
  }

  end(): null {
    return null;
  }
}

const FAILURES: ReadonlySet<unknown> = new Set(['error', 'response.failed']);

/**
 * OpenAI's and Anthropic's `error` member, trtllm-serve's flat `object: "error"`, or the Responses API's events that say failure by their
 * type.
 */
function isErrorPayload(payload: unknown): boolean {
  const answer = asObject(payload);
  if (answer === null) return false;
  return (
    (answer['error'] !== undefined && answer['error'] !== null) ||
    answer['object'] === 'error' ||
    FAILURES.has(answer['type'])
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The usage object that stands last in the tail of a large document, as `{usage}`; its own braces say where it ends. */
function parseTailUsage(tail: string): unknown {
  const at = tail.lastIndexOf('"usage"');
  if (at === -1) return undefined;
  const bytes = Buffer.from(`{${tail.slice(at)}`);
  const [usage] = listMembers(bytes, 0);
  return usage === undefined
    ? undefined
    : { usage: parseJson(bytes.toString('utf8', usage.valueStart, usage.valueEnd)) };
}
