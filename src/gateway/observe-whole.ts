// What an answer that is no stream says about itself as its bytes pass. Streams are observe-answer's, KServe's answers kserve-answer's.
import { type AnswerTexts, type Echo, measureTexts, readAnswerTexts } from './answer-text.ts';
import type { AnswerObserver } from './observe-answer.ts';
import { Pieces } from './pieces.ts';
import { isErrorPayload } from './read-event.ts';
import { readUsage, type ReportedUsage } from './read-usage.ts';
import { countChoices } from './seen-choices.ts';
import { parseTailUsage } from './tail-usage.ts';

/** One document: it has no events, and nothing is known of it before its end. */
export abstract class WholeObserver implements AnswerObserver {
  readonly steps = 0;
  readonly contentEvents = 0;
  readonly isLast = false;
  readonly atBoundary = true;
  isFinished = false;
  isFailed = false;
  sequences: number | undefined = undefined;
  usage: ReportedUsage | null = null;
  contentBytes: number | null = null;
  texts: AnswerTexts | null = null;

  abstract observe(chunk: Buffer): Buffer | null;
  abstract end(): Buffer | null;
}

/** Bodies up to this size are parsed whole at their end; of larger ones only the last bytes are searched for usage. */
const PARSED_BYTES_MAX = 1024 * 1024;
const TAIL_BYTES = 64 * 1024;

/** Observes an answer that is one JSON document; its bytes pass on unchanged. */
export class JsonObserver extends WholeObserver {
  readonly #keepsText: boolean;
  readonly #echo: Echo | null;
  readonly #pieces = new Pieces();
  #isCut = false;
  #isEnded = false;

  /** With `keepsText` the generated texts can be had at the end of an answer without usage. */
  constructor(options: { readonly keepsText?: boolean; readonly echo?: Echo | null } = {}) {
    super();
    this.#echo = options.echo ?? null;
    this.#keepsText = options.keepsText === true;
  }

  observe(chunk: Buffer): Buffer {
    const pieces = this.#pieces;
    pieces.add(chunk);
    if (pieces.length > PARSED_BYTES_MAX || (this.#isCut && pieces.length > 2 * TAIL_BYTES)) {
      const tail = Buffer.from(pieces.join().subarray(-TAIL_BYTES));
      pieces.clear();
      pieces.add(tail);
      this.#isCut = true;
    }
    return chunk;
  }

  end(): null {
    if (this.#isEnded) return null;
    this.#isEnded = true;
    const text = this.#pieces.join().toString('utf8');
    this.#pieces.clear();
    if (this.#isCut) {
      this.usage = readUsage(parseTailUsage(text));
      this.isFinished = true;
      return null;
    }
    const payload = parseJson(text);
    this.isFinished = payload !== undefined;
    this.isFailed = isErrorPayload(payload);
    this.sequences = countChoices(payload);
    this.usage = readUsage(payload);
    if (this.usage !== null) return null;
    const texts = readAnswerTexts(payload, this.#echo);
    this.contentBytes = measureTexts(texts);
    if (this.#keepsText) this.texts = texts;
    return null;
  }
}

/** Observes what cannot be read: encoded, binary or foreign bodies. */
export class OpaqueObserver extends WholeObserver {
  readonly isOpaque = true;
  override isFinished = true;

  observe(chunk: Buffer): Buffer {
    return chunk;
  }

  end(): null {
    return null;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
