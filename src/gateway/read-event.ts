// What one event of an inference stream means: content, end, error, usage. Found by looking for bytes; JSON is parsed only where
// usage or an error stands. Where events begin and end is the scanner's concern.
import type { RouteShape } from './metered-routes.ts';
import { asObject } from './read-usage.ts';

/** How content, and the end, look in the events of a route. */
interface EventShape {
  /** The usual spelling, looked for first: a key, its colon and the opening quote. */
  readonly usualContent: string;
  /** All spellings; content is a text that is not empty, or a piece of a tool call. */
  readonly content: RegExp;
  /** Says that the sequence ended as it should. */
  readonly finish: RegExp;
  /** The last event of the stream, after which a client may hang up. */
  readonly last: RegExp;
  /** Fixed text in it, looked for first. */
  readonly lastMark: string;
}

const OPENAI_FINISH = /"finish_reason"\s*:\s*"/;
const DONE = /^data: ?\[DONE\]\s*$/m;

const SHAPES: Readonly<Record<RouteShape, EventShape>> = {
  chat: {
    usualContent: '"content":"',
    content: /"(?:content|reasoning_content|reasoning|refusal|arguments)"\s*:\s*"[^"]|"tool_calls"\s*:\s*\[\s*\{/,
    finish: OPENAI_FINISH,
    last: DONE,
    lastMark: '[DONE]',
  },
  completion: {
    usualContent: '"text":"',
    content: /"text"\s*:\s*"[^"]/,
    finish: OPENAI_FINISH,
    last: DONE,
    lastMark: '[DONE]',
  },
  response: {
    usualContent: '"delta":"',
    content: /"delta"\s*:\s*"[^"]/,
    finish: /"type"\s*:\s*"response\.(?:completed|incomplete)"/,
    last: /"type"\s*:\s*"response\.(?:completed|incomplete|failed)"/,
    lastMark: 'response.',
  },
  message: {
    usualContent: '"text":"',
    content: /"(?:text|thinking|partial_json)"\s*:\s*"[^"]/,
    finish: /"stop_reason"\s*:\s*"/,
    last: /"type"\s*:\s*"message_stop"/,
    lastMark: 'message_stop',
  },
  embedding: {
    usualContent: '"text":"',
    content: /"text"\s*:\s*"[^"]/,
    finish: OPENAI_FINISH,
    last: DONE,
    lastMark: '[DONE]',
  },
  rerank: {
    usualContent: '"text":"',
    content: /"text"\s*:\s*"[^"]/,
    finish: OPENAI_FINISH,
    last: DONE,
    lastMark: '[DONE]',
  },
};

const USAGE = /"usage"\s*:\s*\{/;
const FAILED = /"type"\s*:\s*"response\.failed"/;
const ERROR = /"error"\s*:\s*[{"]|"object"\s*:\s*"error"|^event: ?error|"type"\s*:\s*"(?:error|response\.failed)"/m;

/** Judges the events of one route. `text` is an event as latin1, one character per byte, which is enough to find ASCII keys. */
export class EventReader {
  readonly #shape: EventShape;

  constructor(shape: RouteShape) {
    this.#shape = SHAPES[shape];
  }

  /** Where the usual content begins in the event; -1 where it stands otherwise. */
  findText(text: string): number {
    const { usualContent } = this.#shape;
    const at = text.indexOf(usualContent);
    return at === -1 ? -1 : at + usualContent.length;
  }

  /** True where the event brings content in any of its spellings. */
  hasContent(text: string): boolean {
    return this.#shape.content.test(text);
  }

  /** How many sequences the event says to have ended as they should. */
  countFinishes(text: string): number {
    const { finish } = this.#shape;
    return finish.test(text) ? (text.match(new RegExp(finish, 'g'))?.length ?? 1) : 0;
  }

  isLast(text: string): boolean {
    return text.includes(this.#shape.lastMark) && this.#shape.last.test(text);
  }

  /** Whether a Responses stream says by this event that it failed. */
  saysFailure(text: string): boolean {
    return FAILED.test(text);
  }

  /** True where the event may hold usage. */
  hasUsage(text: string): boolean {
    return text.includes('"usage"') && USAGE.test(text);
  }

  /** True where the event may hold usage or an error, and its JSON is worth parsing. */
  needsParsing(text: string): boolean {
    return this.hasUsage(text) || (mayHoldError(text) && ERROR.test(text));
  }
}

/** Searching for fixed text first costs a fraction of the expression: nearly no event has any of it. */
function mayHoldError(text: string): boolean {
  return (
    text.includes('"error"') ||
    text.includes('response.failed') ||
    text.includes('event: error') ||
    text.includes('event:error')
  );
}

/**
 * Whether an event whose blank line never came is whole all the same: `[DONE]`, or data that is a JSON document. A comment, or an empty
 * line, is nothing that could be torn.
 */
export function isWholeEvent(bytes: Buffer): boolean {
  const text = bytes.toString('utf8');
  const lines = text.split(/\r\n|\n|\r/).filter((line) => line !== '' && !line.startsWith(':'));
  return lines.length === 0 || DONE.test(text) || parseEventData(text) !== undefined;
}

/** The JSON of an event's data lines, undefined where they hold none. */
export function parseEventData(event: string): unknown {
  const lines: string[] = [];
  for (const line of event.split(/\r\n|\n|\r/)) {
    if (line.startsWith('data:')) lines.push(line.startsWith('data: ') ? line.slice(6) : line.slice(5));
  }
  try {
    return JSON.parse(lines.join('\n'));
  } catch {
    // Rubbish from an engine is passed on as it came; it only says nothing to us.
    return undefined;
  }
}

const FAILURES: ReadonlySet<unknown> = new Set(['error', 'response.failed']);

/**
 * OpenAI's and Anthropic's `error` member, trtllm-serve's flat `object: "error"`, or the Responses API's events that say failure by their
 * type.
 */
export function isErrorPayload(payload: unknown): boolean {
  const answer = asObject(payload);
  if (answer === null) return false;
  return (
    (answer['error'] !== undefined && answer['error'] !== null) ||
    answer['object'] === 'error' ||
    FAILURES.has(answer['type'])
  );
}
