// Lives here: Anthropic's Messages protocol as inference engines speak it: an adapter over their chat route, in the dialect of each.
// Sources: vLLM entrypoints/anthropic/serving.py, TensorRT-LLM serve/anthropic_adapter.py; upstreams.md §1.7. Not here: which flavour has it.
import { formatNamedEvent } from './flavor.ts';
import type { AnswerFrame, Flavor, HttpProblem, TokenPiece, TokenUsage, WholeChoice } from './flavor.ts';
import { isJsonObject } from '../inference-request.ts';
import type { JsonObject } from '../inference-request.ts';

/** In what the engines' adapters differ. */
export interface MessagesDialect {
  /** Where the start of a stream parts cached tokens from input tokens; else it says the whole prompt as input. */
  readonly partsAtStart: boolean;
  /** `cache_creation_input_tokens: 0` beside what was read from the cache, and both even where nothing was. */
  readonly saysCreation: boolean;
  /** `[DONE]` follows `message_stop`, as it does nowhere at Anthropic's. */
  readonly endsWithDone: boolean;
  /** A call of a tool can be demanded. */
  readonly forcesTools: boolean;
  readonly checksModel: boolean;
  /** `type` of an error by its status. */
  errorType(status: number): string;
  answerId(chatId: string, uuid: string): string;
}

const stopReasons = { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use' } as const;

/** The request as the chat route takes it; what the client sent stays under `sent`. */
export function translateMessages(body: JsonObject): JsonObject {
  const { model, messages, system, tools, tool_choice: choice } = body;
  return {
    sent: body,
    model,
    messages: Array.isArray(messages) ? [...readSystem(system), ...messages.map(translateMessage)] : messages,
    max_tokens: body['max_tokens'],
    stop: body['stop_sequences'],
    temperature: body['temperature'],
    top_p: body['top_p'],
    top_k: body['top_k'],
    stream: body['stream'],
    tools: Array.isArray(tools) ? tools.map(translateTool) : undefined,
    tool_choice: isJsonObject(choice) ? translateChoice(choice) : undefined,
  };
}

function readSystem(system: unknown): JsonObject[] {
  return system === undefined ? [] : [{ role: 'system', content: system }];
}

function translateMessage(message: unknown): unknown {
  if (!isJsonObject(message) || !Array.isArray(message['content'])) return message;
  return { ...message, content: message['content'].flatMap(translateBlock) };
}

function translateBlock(block: unknown): unknown[] {
  if (!isJsonObject(block)) return [block];
  if (block['type'] === 'tool_use') return [{ type: 'text', text: JSON.stringify([block['name'], block['input']]) }];
  if (block['type'] !== 'tool_result') return [block];
  const { content } = block;
  return Array.isArray(content) ? content : [{ type: 'text', text: String(content ?? '') }];
}

function translateTool(tool: unknown): unknown {
  // What is no tool is left for the check to find.
  if (!isJsonObject(tool)) return tool;
  const { name, description, input_schema: parameters } = tool;
  return { type: 'function', function: { name, description, parameters } };
}

function translateChoice(choice: JsonObject): unknown {
  if (choice['type'] === 'any') return 'required';
  if (choice['type'] === 'none') return 'none';
  return choice['type'] === 'tool' ? { type: 'function', function: { name: choice['name'] } } : 'auto';
}

/** The whole prompt as input. */
function describeWholeUsage(usage: TokenUsage): JsonObject {
  return { input_tokens: usage.promptTokens, output_tokens: usage.completionTokens };
}

/** Anthropic's way: input leaves out what came from the cache. */
function describePartedUsage(usage: TokenUsage, dialect: MessagesDialect): JsonObject {
  const read = { cache_read_input_tokens: usage.cachedTokens };
  return {
    input_tokens: usage.promptTokens - usage.cachedTokens,
    output_tokens: usage.completionTokens,
    ...(dialect.saysCreation ? { ...read, cache_creation_input_tokens: 0 } : usage.cachedTokens > 0 ? read : {}),
  };
}

function describeMessage(frame: AnswerFrame, message: JsonObject, usage: JsonObject | null): JsonObject {
  const { content, stop_reason } = message;
  const head = { id: frame.id, type: 'message', role: 'assistant', content, model: frame.model };
  return { ...head, stop_reason, stop_sequence: null, ...(usage === null ? {} : { usage }) };
}

function describeContent({ toolCall, text }: WholeChoice): JsonObject[] {
  if (toolCall === null) return [{ type: 'text', text }];
  return [{ type: 'tool_use', id: toolCall.id, name: toolCall.name, input: parseArguments(text) }];
}

/** Arguments that a limit of tokens cut off are no JSON. */
function parseArguments(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function formatPiece({ index, text, toolCall }: TokenPiece): string {
  const content_block =
    toolCall === null
      ? { type: 'text', text: '' }
      : { type: 'tool_use', id: toolCall.id, name: toolCall.name, input: {} };
  const opening = index === 0 ? formatNamedEvent('content_block_start', { index: 0, content_block }) : '';
  if (text === '') return opening;
  const delta = toolCall === null ? { type: 'text_delta', text } : { type: 'input_json_delta', partial_json: text };
  return opening + formatNamedEvent('content_block_delta', { index: 0, delta });
}

function check(body: JsonObject, served: string, speak: MessagesSpeech): HttpProblem | undefined {
  const sent = isJsonObject(body['sent']) ? body['sent'] : {};
  for (const field of ['model', 'messages', 'max_tokens']) {
    if (sent[field] === undefined) return speak.problem(400, `${field}: Field required`);
  }
  if (speak.dialect.checksModel && sent['model'] !== served) {
    return speak.problem(404, `The model \`${String(sent['model'])}\` does not exist.`);
  }
  const choice = isJsonObject(sent['tool_choice']) ? sent['tool_choice']['type'] : undefined;
  if (!speak.dialect.forcesTools && (choice === 'any' || choice === 'tool')) {
    return speak.problem(400, `Anthropic tool_choice type '${choice}' is not supported`);
  }
  return undefined;
}

interface MessagesSpeech {
  readonly dialect: MessagesDialect;
  problem(status: number, message: string): HttpProblem;
}

/** The Messages protocol of the engine whose chat route is `chat`. */
export function speakMessages(chat: Flavor, dialect: MessagesDialect): Flavor {
  const describeUsage = (usage: TokenUsage | null): JsonObject | null => {
    if (usage === null) return null;
    return chat.tellsCached === false ? describeWholeUsage(usage) : describePartedUsage(usage, dialect);
  };
  const done = dialect.endsWithDone ? 'data: [DONE]\n\n' : '';
  const problem = (status: number, message: string): HttpProblem => ({
    status,
    body: { type: 'error', error: { type: dialect.errorType(status), message } },
  });
  return {
    ...chat,
    rolesBeforePrefill: false,
    usagePerPrompt: false,
    usageInLastToken: false,
    terminator: done,
    translate: translateMessages,
    check: ({ body, servedModel }) => check(body, servedModel, { dialect, problem }),
    problem(status, message, field) {
      // A length is no field of this protocol.
      const said =
        field === undefined || field === 'input_tokens' ? '' : `${field === 'stop' ? 'stop_sequences' : field}: `;
      return problem(status, said + message);
    },
    streamUsage: () => ({ atEnd: true, continuous: true }),
    wholeUsage: () => true,
    answerId: (request) => dialect.answerId(chat.answerId(request), request.uuid),
    roleEvents: (frame, _choices, usage) =>
      formatNamedEvent('message_start', {
        message: describeMessage(
          frame,
          { content: [], stop_reason: null },
          usage === null || dialect.partsAtStart ? describeUsage(usage) : describeWholeUsage(usage),
        ),
      }),
    tokenEvent: (_frame, piece) => formatPiece(piece),
    usageEvent: () => '',
    endEvents: (_frame, choices, usage) =>
      formatNamedEvent('content_block_stop', { index: 0 }) +
      formatNamedEvent('message_delta', {
        delta: { stop_reason: stopReasons[choices[0]?.endReason ?? 'stop'], stop_sequence: null },
        ...(usage === null ? {} : { usage: describeUsage(usage) }),
      }) +
      formatNamedEvent('message_stop', {}),
    errorEvent: (message) => formatNamedEvent('error', { error: { type: dialect.errorType(500), message } }),
    wholeAnswer(frame, [choice], usage) {
      const content = choice === undefined ? [] : describeContent(choice);
      const stop_reason = stopReasons[choice?.endReason ?? 'stop'];
      return describeMessage(frame, { content, stop_reason }, describeUsage(usage));
    },
  };
}
