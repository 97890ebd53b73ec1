// The texts that a model wrote, found in parsed answers and events, so that they can be counted. Held in memory for one attempt alone.
import type { RouteShape } from './metered-routes.ts';
import { asObject } from './read-usage.ts';

/** Generated texts, one per choice and kind; arguments of tool calls are output. */
export interface AnswerTexts {
  readonly output: readonly string[];
  readonly reasoning: readonly string[];
}

/** Longer answers are not kept: about 250,000 tokens, more than any engine writes at a stretch. */
const TEXT_LENGTH_MAX = 1024 * 1024;

/** What an answer repeats of its request before what was generated. */
export interface Echo {
  readonly prompts: readonly string[];
  /** Choices of each prompt, which stand one after the other. */
  readonly choicesPerPrompt: number;
}

type Kind = 'output' | 'reasoning';
type Add = (kind: Kind, place: string, text: unknown) => void;

/** Collects the texts of a stream, bounded. */
export class StreamText {
  readonly #shape: RouteShape;
  readonly #echo: Echo | null;
  readonly #texts = { output: new Map<string, string>(), reasoning: new Map<string, string>() };
  #length = 0;

  constructor(shape: RouteShape, echo: Echo | null = null) {
    this.#shape = shape;
    this.#echo = echo;
  }

  /** Takes a parsed event. */
  add(payload: unknown): void {
    if (this.#length > TEXT_LENGTH_MAX) return;
    readDelta(this.#shape, asObject(payload), (kind, place, text) => {
      if (typeof text !== 'string' || text === '') return;
      this.#length += text.length;
      const texts = this.#texts[kind];
      texts.set(place, (texts.get(place) ?? '') + text);
    });
    if (this.#length > TEXT_LENGTH_MAX) for (const texts of Object.values(this.#texts)) texts.clear();
  }

  /** Null for a stream that was too long to be kept. */
  read(): AnswerTexts | null {
    if (this.#length > TEXT_LENGTH_MAX) return null;
    const { output, reasoning } = this.#texts;
    const generated = [...output].map(([place, text]) => dropEcho(text, Number(place), this.#echo));
    return { output: generated, reasoning: [...reasoning.values()] };
  }
}

/** Generated texts of a whole chat, completion, Responses or Anthropic answer; null where none is found. */
export function readAnswerTexts(payload: unknown, echo: Echo | null = null): AnswerTexts | null {
  const output: string[] = [];
  const reasoning: string[] = [];
  readWhole(asObject(payload), (kind, place, text) => {
    if (typeof text !== 'string') return;
    if (kind === 'output') output.push(dropEcho(text, Number(place), echo));
    else reasoning.push(text);
  });
  return output.length + reasoning.length === 0 ? null : { output, reasoning };
}

/** UTF-8 bytes of all texts; null for none. */
export function measureTexts(texts: AnswerTexts | null): number | null {
  if (texts === null) return null;
  return [...texts.output, ...texts.reasoning].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

/** A choice's text without its prompt. Engines that know no `echo` ignore it: what does not begin with the prompt stays as it is. */
function dropEcho(text: string, choice: number, echo: Echo | null): string {
  const prompt = echo?.prompts[Math.floor(choice / echo.choicesPerPrompt)] ?? '';
  return text.startsWith(prompt) ? text.slice(prompt.length) : text;
}

function readDelta(shape: RouteShape, event: Record<string, unknown> | null, add: Add): void {
  if (shape === 'response') {
    const place = `${readPlace(event?.['output_index'])} ${readPlace(event?.['content_index'])}`;
    add(readPlace(event?.['type']).includes('reasoning') ? 'reasoning' : 'output', place, event?.['delta']);
    return;
  }
  if (shape === 'message') {
    const delta = asObject(event?.['delta']);
    const place = readPlace(event?.['index']);
    add('output', place, delta?.['text'] ?? delta?.['partial_json']);
    add('reasoning', place, delta?.['thinking']);
    return;
  }
  for (const value of asList(event?.['choices'])) {
    const choice = asObject(value);
    const place = readPlace(choice?.['index']);
    add('output', place, choice?.['text']);
    readChatMessage(asObject(choice?.['delta']), place, add);
  }
}

function readWhole(answer: Record<string, unknown> | null, add: Add): void {
  for (const value of asList(answer?.['choices'])) {
    const choice = asObject(value);
    const place = readPlace(choice?.['index']);
    add('output', place, choice?.['text']);
    readChatMessage(asObject(choice?.['message']), place, add);
  }
  for (const value of asList(answer?.['content'])) {
    const block = asObject(value);
    add('output', '', block?.['text']);
    add('reasoning', '', block?.['thinking']);
    if (block?.['type'] === 'tool_use') add('output', '', JSON.stringify(block['input']));
  }
  for (const value of asList(answer?.['output'])) {
    const item = asObject(value);
    const kind = item?.['type'] === 'reasoning' ? 'reasoning' : 'output';
    for (const part of asList(item?.['content'])) add(kind, '', asObject(part)?.['text']);
    if (item?.['type'] === 'function_call') add('output', '', item['arguments']);
  }
}

/** A message, or a delta of one: its fields have the same names. */
function readChatMessage(message: Record<string, unknown> | null, place: string, add: Add): void {
  add('output', place, message?.['content']);
  add('output', `${place} refusal`, message?.['refusal']);
  // Servers name it either way, and some send both with the same text.
  add('reasoning', place, message?.['reasoning_content'] ?? message?.['reasoning']);
  for (const value of asList(message?.['tool_calls'])) {
    const call = asObject(value);
    const called = asObject(call?.['function']);
    const callPlace = `${place} call ${readPlace(call?.['index'])}`;
    add('output', callPlace, called?.['name']);
    add('output', callPlace, called?.['arguments']);
  }
}

/** Of what is neither number nor text nothing is read: an object may have no text at all, and a deep list one that never ends. */
function readPlace(value: unknown): string {
  return typeof value === 'number' || typeof value === 'string' ? `${value}` : '';
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
