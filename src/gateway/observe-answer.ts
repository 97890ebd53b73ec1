// What an answer says about itself as its bytes pass: content, usage, errors, its end. Here are streams;
// answers that are one document are observe-whole's.
import { type AnswerTexts, type Echo, StreamText } from './answer-text.ts';
import { StreamCount } from './count-stream.ts';
import { EventTemplate, findTextEnd } from './event-template.ts';
import { findEventUsage } from './event-usage.ts';
import type { RouteShape } from './metered-routes.ts';
import { EventReader, isErrorPayload, isWholeEvent, parseEventData } from './read-event.ts';
import type { ReportedUsage } from './read-usage.ts';
import type { UsageRemoval } from './sent-body.ts';
import { type EventCut, SseScanner } from './sse-scanner.ts';
import { SeenChoices } from './seen-choices.ts';
import { StreamUsage } from './stream-usage.ts';
import { parseTailUsage } from './tail-usage.ts';

/** Watches the body of one answer. */
export interface AnswerObserver {
  /** Whether bytes may be taken out or changed, so that the length is not the engine's; absent means no. */
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
  /** The engine said that every sequence ended as it should. */
  readonly isFinished: boolean;
  /** The answer carries an error in its body, whatever its status. */
  readonly isFailed: boolean;
  /** Answers seen so far, by their numbers; undefined or absent where nothing tells. */
  readonly sequences?: number | undefined;
  /** Null where the answer said none. */
  readonly usage: ReportedUsage | null;
  /** Nothing above can be known of the answer; absent where it can. */
  readonly isOpaque?: boolean;
  /** Bytes of generated text in an answer that does not stream; null where unknown. */
  readonly contentBytes: number | null;
  /** Generated texts, where they are kept because they may be counted; null or absent otherwise. */
  readonly texts?: AnswerTexts | null;
  /** Whether the bytes passed on so far end between two events; true for answers that are no stream. */
  readonly atBoundary: boolean;
  /** Whether a stream ended in the middle of an event, known after `end`; absent where the answer is no stream. */
  readonly isTorn?: boolean;
  /** The number that the next event would have, in streams that number their events; absent where they do not. */
  readonly nextSequence?: number;
}

export interface StreamObserverOptions {
  readonly shape: RouteShape;
  readonly promptCount: number;
  readonly sequences: number;
  /** Sequences of which the stream says an end. Default: all. */
  readonly choices?: number | undefined;
  /** What to take out, because the gateway asked for it. */
  readonly removal: UsageRemoval;
  /** Whether the engine writes `"usage":null` where it says none. Default: it leaves usage out. */
  readonly saysNullUsage?: boolean;
  /** Keep the generated text, to be counted at the end. Default: no. */
  readonly keepsText?: boolean;
  /** What of the request its text repeats. Default: nothing. */
  readonly echo?: Echo | null;
  /** Says an engine's error event, the number given, in the words of the protocol; null leaves it as it is. Default: all are left. */
  readonly normalizeError?: ((payload: unknown, sequence: number) => string | null) | undefined;
}

const NULL = Buffer.from('null');

/** Routes whose streams say an end for each sequence. */
const COUNTED_SHAPES: ReadonlySet<RouteShape> = new Set(['chat', 'completion']);

/** A name inside a text has its quotes escaped, so it is never taken for one. */
const SEQUENCE = /"sequence_number"\s*:\s*(\d{1,15})/;

/** Observes a server-sent event stream. */
export class StreamObserver implements AnswerObserver {
  steps = 0;
  readonly count = new StreamCount();
  isLast = false;
  isFailed = false;
  readonly contentBytes = null;
  readonly #choices: number;
  /** Null where one answer is all that was asked for. */
  readonly #seen: SeenChoices | null;
  #finishes = 0;
  readonly #reader: EventReader;
  readonly #usage: StreamUsage;
  readonly #scanner: SseScanner;
  /** Events are held until they are whole, because something may be changed in them. */
  readonly changesLength: boolean;
  readonly #normalizeError: StreamObserverOptions['normalizeError'];
  readonly #removal: UsageRemoval;
  /** What stands in place of a running count that was cut out; null where the whole member goes. */
  readonly #noUsage: Buffer | null;
  readonly #text: StreamText | null;
  readonly #numbersEvents: boolean;
  /** Null where each event is to be read: its text is kept, or it says its number. */
  readonly #template: EventTemplate | null;
  #lastEvent = '';

  constructor(options: StreamObserverOptions) {
    this.#reader = new EventReader(options.shape);
    this.#usage = new StreamUsage(options);
    this.#text = options.keepsText === true ? new StreamText(options.shape, options.echo) : null;
    this.#choices = COUNTED_SHAPES.has(options.shape) ? (options.choices ?? options.sequences) : 1;
    this.#seen = COUNTED_SHAPES.has(options.shape) && options.sequences > 1 ? new SeenChoices(options) : null;
    this.#numbersEvents = options.shape === 'response';
    this.#template = this.#text === null && !this.#numbersEvents ? new EventTemplate() : null;
    this.#removal = options.removal;
    this.#noUsage = options.saysNullUsage === true ? NULL : null;
    this.#normalizeError = options.normalizeError;
    this.changesLength = options.removal.chunk || options.removal.running || options.normalizeError !== undefined;
    this.#scanner = new SseScanner(
      (bytes, start, end) => this.#readEvent(bytes, start, end),
      this.changesLength ? 'filter' : 'observe',
      (ends) => this.#readLargeEvent(ends),
    );
  }

  get isFinished(): boolean {
    return this.#finishes >= this.#choices;
  }

  get sequences(): number | undefined {
    return this.#seen === null ? undefined : Math.max(this.#seen.count, this.#finishes);
  }

  get isTorn(): boolean {
    return this.#scanner.isTorn;
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
    const template = this.#template;
    if (template !== null && this.#scanner.isAtRest && template.matches(chunk)) {
      this.steps = template.events;
      this.count.addUnnamed(template.events, template.textBytes);
      return chunk;
    }
    this.steps = 0;
    return this.#scanner.scan(chunk);
  }

  end(): Buffer | null {
    this.steps = 0;
    return this.#scanner.end(isWholeEvent);
  }

  /** Returns what to take out of the event. */
  #readEvent(bytes: Buffer, start: number, end: number): boolean | EventCut {
    const text = bytes.toString('latin1', start, end);
    if (this.#numbersEvents && text.includes('"sequence_number"')) this.#lastEvent = text;
    this.#seen?.add(text);
    const textStart = this.#reader.findText(text);
    const textEnd = textStart === -1 ? -1 : findTextEnd(bytes, start + textStart, end);
    const textBytes = textEnd === -1 ? 0 : textEnd - start - textStart;
    const hasContent = textBytes > 0 || this.#reader.hasContent(text);
    let isPlain = textBytes > 0;
    if (hasContent) {
      this.steps += 1;
      if (this.count.add(text, textBytes) > 0) isPlain = false;
    }
    if (this.#readEnd(text)) isPlain = false;
    const keepsText = hasContent && this.#text !== null;
    if (this.#removal.running && this.#reader.hasUsage(text)) {
      const verdict = this.#readRunningUsage(bytes, start, end);
      if (verdict !== null) {
        if (keepsText) this.#text?.add(parseEventData(bytes.toString('utf8', start, end)));
        return verdict;
      }
    }
    const needsParsing = this.#reader.needsParsing(text);
    if (!keepsText && !needsParsing) {
      if (isPlain) this.#template?.learn(bytes, { start, end, textStart: start + textStart, textEnd });
      return false;
    }
    const payload = parseEventData(bytes.toString('utf8', start, end));
    if (keepsText) this.#text?.add(payload);
    if (!needsParsing) return false;
    if (isErrorPayload(payload)) {
      this.isFailed = true;
      const told = this.#normalizeError?.(payload, this.nextSequence) ?? null;
      // The blank line stays the engine's.
      if (told !== null) return { start, end, replacement: Buffer.from(told.slice(0, -1)) };
    }
    return this.#usage.add(payload) && this.#removal.chunk;
  }

  /** Whether the event says an end that was not said before. */
  #readEnd(text: string): boolean {
    const finishes = this.isFinished ? 0 : this.#reader.countFinishes(text);
    this.#finishes += finishes;
    const isLast = !this.isLast && this.#reader.isLast(text);
    if (isLast) this.isLast = true;
    return isLast || finishes > 0;
  }

  /** The last event of the Responses API holds the whole answer and may be of any length: its ends say what matters. */
  #readLargeEvent(ends: Buffer): void {
    const text = ends.toString('latin1');
    if (this.#numbersEvents) this.#lastEvent = text;
    this.#readEnd(text);
    if (this.#reader.saysFailure(text)) this.isFailed = true;
    const said = parseTailUsage(ends.toString('utf8'));
    if (said !== undefined) this.#usage.add(said);
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
