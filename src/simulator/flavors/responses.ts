// Lives here: OpenAI's Responses protocol as inference engines speak it over their chat template: a response object, numbered events.
// Sources: vLLM entrypoints/openai/responses, transformers cli/serving/response.py; upstreams.md §1.6, §6. Not here: which flavour has it.
import { formatEvent, formatNamedEvent } from './flavor.ts';
import type { AnswerFrame, Flavor, HttpProblem, TokenPiece, TokenUsage, WholeChoice } from './flavor.ts';
import { isJsonObject } from '../inference-request.ts';
import type { JsonObject } from '../inference-request.ts';

/** In what the engines differ. */
export interface ResponsesDialect {
  /** Events have an `event:` line besides the type in their data. */
  readonly namesEvents: boolean;
  /** An answer cut by its limit ends with `response.incomplete`. */
  readonly saysIncomplete: boolean;
  /** A request that says nothing of streaming is streamed. */
  readonly streamsByDefault: boolean;
  readonly takesTools: boolean;
  /** Whether cached tokens are told; else they are said to be none. */
  readonly saysCached: boolean;
  readonly checksModel: boolean;
  /** Fields that are refused with 422. */
  readonly refusedFields: ReadonlySet<string>;
}

/** Events before the first token's own: created, in progress. */
const EVENTS_BEFORE = 2;

/** What the client calls the fields of the chat route. */
const FIELD_NAMES: Readonly<Record<string, string>> = { messages: 'input', max_tokens: 'max_output_tokens' };

/** The request as the chat route takes it; what the client sent stays under `sent`. */
function translate(body: JsonObject, dialect: ResponsesDialect): JsonObject {
  const { model, input, instructions, tools, tool_choice: choice } = body;
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : input;
  const system = typeof instructions === 'string' ? [{ role: 'system', content: instructions }] : [];
  return {
    sent: body,
    model,
    messages: Array.isArray(items) ? [...system, ...items.map(translateItem)] : items,
    max_tokens: body['max_output_tokens'],
    response_format: translateFormat(body['text']),
    temperature: body['temperature'],
    top_p: body['top_p'],
    stream: body['stream'] ?? dialect.streamsByDefault,
    tools: dialect.takesTools && Array.isArray(tools) ? tools.map(translateTool) : undefined,
    tool_choice: isJsonObject(choice) ? { type: 'function', function: { name: choice['name'] } } : choice,
  };
}

/** Calls and their outputs are items of their own; they count as text of the turn that they are. */
function translateItem(item: unknown): unknown {
  if (!isJsonObject(item)) return item;
  const { type, name, arguments: args, output } = item;
  if (type === 'function_call') return { role: 'assistant', content: JSON.stringify([name, args]) };
  if (type === 'function_call_output') return { role: 'tool', content: String(output ?? '') };
  return item;
}

/** The schema stands one level higher than in chat. */
function translateFormat(text: unknown): unknown {
  const format = isJsonObject(text) ? text['format'] : undefined;
  return isJsonObject(format) && format['type'] === 'json_schema'
    ? { type: 'json_schema', json_schema: format }
    : format;
}

function translateTool(tool: unknown): unknown {
  // What is no tool is left for the check to find.
  if (!isJsonObject(tool)) return tool;
  const { name, description, parameters } = tool;
  return { type: 'function', function: { name, description, parameters } };
}

function describeUsage(usage: TokenUsage, dialect: ResponsesDialect): JsonObject {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: dialect.saysCached ? usage.cachedTokens : 0 },
    output_tokens: usage.completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: usage.promptTokens + usage.completionTokens,
  };
}

function describeResponse(frame: AnswerFrame, state: JsonObject): JsonObject {
  return {
    id: frame.id,
    object: 'response',
    created_at: frame.created,
    model: frame.model,
    error: null,
    incomplete_details: null,
    instructions: null,
    metadata: null,
    output: [],
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    usage: null,
    ...state,
  };
}

function describePart(text: string): JsonObject {
  return { type: 'output_text', text, annotations: [], logprobs: null };
}

function nameItem(frame: AnswerFrame, isCall: boolean): string {
  return frame.id.replace(/^resp/, isCall ? 'fc' : 'msg');
}

type ItemSource = Pick<WholeChoice, 'toolCall' | 'text'>;

/** The one item of the output: a message or a call. */
function describeItem(frame: AnswerFrame, { toolCall, text }: ItemSource, status: string): JsonObject {
  if (toolCall === null) {
    const content = status === 'in_progress' ? [] : [describePart(text)];
    return { id: nameItem(frame, false), type: 'message', role: 'assistant', status, content };
  }
  const { id, name } = toolCall;
  return { id: nameItem(frame, true), type: 'function_call', call_id: id, name, arguments: text, status };
}

/** The response when it is over, and the status that says how. */
function describeEnd(
  frame: AnswerFrame,
  choice: WholeChoice,
  options: { readonly usage: TokenUsage | null; readonly dialect: ResponsesDialect },
): JsonObject & { readonly status: string } {
  const { usage, dialect } = options;
  const isCut = choice.endReason === 'length' && dialect.saysIncomplete;
  const status = isCut ? 'incomplete' : 'completed';
  const response = describeResponse(frame, {
    output: [describeItem(frame, choice, status)],
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    usage: usage === null ? null : describeUsage(usage, dialect),
  });
  return { ...response, status };
}

/** Writes events with their numbers, from `first` on. */
function createWriter(dialect: ResponsesDialect, first: number): (type: string, payload: JsonObject) => string {
  let next = first;
  return (type, payload) => {
    const numbered = { ...payload, sequence_number: next };
    next += 1;
    return dialect.namesEvents ? formatNamedEvent(type, numbered) : formatEvent(JSON.stringify({ type, ...numbered }));
  };
}

/** Events that open the item: with the part of a message two, of a call one; the call's first token has no text. */
function countOpening(isCall: boolean): number {
  return isCall ? 1 : 2;
}

function formatPiece(frame: AnswerFrame, piece: TokenPiece, dialect: ResponsesDialect): string {
  const { index, text, toolCall } = piece;
  const isCall = toolCall !== null;
  const before = index === 0 ? 0 : countOpening(isCall) + index - (isCall ? 1 : 0);
  const write = createWriter(dialect, EVENTS_BEFORE + before);
  const place = { item_id: nameItem(frame, isCall), output_index: 0 };
  let events = '';
  if (index === 0) {
    const item = describeItem(frame, { toolCall, text: '' }, 'in_progress');
    events += write('response.output_item.added', { output_index: 0, item });
    if (isCall) return events;
    events += write('response.content_part.added', { ...place, content_index: 0, part: describePart('') });
  }
  if (isCall) return events + write('response.function_call_arguments.delta', { ...place, delta: text });
  return events + write('response.output_text.delta', { ...place, content_index: 0, delta: text, logprobs: [] });
}

function formatEnd(
  frame: AnswerFrame,
  choice: WholeChoice,
  options: { readonly usage: TokenUsage | null; readonly dialect: ResponsesDialect },
): string {
  const { dialect } = options;
  const { toolCall, text, tokens } = choice;
  const isCall = toolCall !== null;
  const pieces = tokens.length - (isCall ? 1 : 0);
  const write = createWriter(dialect, EVENTS_BEFORE + countOpening(isCall) + pieces);
  const place = { item_id: nameItem(frame, isCall), output_index: 0 };
  const response = describeEnd(frame, choice, options);
  const content = { ...place, content_index: 0 };
  const closing = isCall
    ? write('response.function_call_arguments.done', { ...place, name: toolCall.name, arguments: text })
    : write('response.output_text.done', { ...content, text, logprobs: [] }) +
      write('response.content_part.done', { ...content, part: describePart(text) });
  const item = describeItem(frame, choice, response.status);
  return (
    closing +
    write('response.output_item.done', { output_index: 0, item }) +
    write(`response.${response.status}`, { response })
  );
}

function check(body: JsonObject, served: string, speak: { chat: Flavor; dialect: ResponsesDialect }) {
  const { chat, dialect } = speak;
  const sent = isJsonObject(body['sent']) ? body['sent'] : {};
  if (sent['input'] === undefined) return chat.problem(400, 'Field required', 'input');
  const refused = Object.keys(sent).filter((field) => dialect.refusedFields.has(field));
  if (refused.length > 0) {
    const list = refused.map((field) => `'${field}'`).join(', ');
    return { status: 422, body: { detail: `Unsupported fields in the request: {${list}}` } } satisfies HttpProblem;
  }
  if (!dialect.checksModel || (sent['model'] ?? served) === served) return undefined;
  return chat.problem(404, `The model \`${String(sent['model'])}\` does not exist.`, 'model');
}

/** The Responses protocol of the engine whose chat route is `chat`. */
export function speakResponses(chat: Flavor, dialect: ResponsesDialect): Flavor {
  return {
    ...chat,
    rolesBeforePrefill: true,
    usagePerPrompt: false,
    usageInLastToken: false,
    terminator: '',
    translate: (body) => translate(body, dialect),
    check: ({ body, servedModel }) => check(body, servedModel, { chat, dialect }),
    problem: (status, message, field) =>
      chat.problem(status, message, field === undefined ? field : (FIELD_NAMES[field] ?? field)),
    streamUsage: () => ({ atEnd: true, continuous: false }),
    wholeUsage: () => true,
    answerId: ({ requestId, uuid }) => `resp_${requestId ?? uuid}`,
    roleEvents(frame) {
      const write = createWriter(dialect, 0);
      const response = describeResponse(frame, { status: 'in_progress' });
      return write('response.created', { response }) + write('response.in_progress', { response });
    },
    tokenEvent: (frame, piece) => formatPiece(frame, piece, dialect),
    usageEvent: () => '',
    endEvents: (frame, [choice], usage) => (choice === undefined ? '' : formatEnd(frame, choice, { usage, dialect })),
    errorEvent(message, tokensSent = 0) {
      const write = createWriter(dialect, EVENTS_BEFORE + (tokensSent === 0 ? 0 : 2 + tokensSent));
      return write('error', { code: 'server_error', message, param: null });
    },
    wholeAnswer: (frame, [choice], usage) =>
      choice === undefined ? describeResponse(frame, {}) : describeEnd(frame, choice, { usage, dialect }),
  };
}
