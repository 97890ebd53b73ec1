// Requests of three protocols → one Conversation as chat templates expect it: OpenAI chat, OpenAI Responses, Anthropic messages.
// Null wherever something is in it that text tokens do not cover (images, audio, files), since a count without it would be too low.
import type { Conversation } from './chat-template.ts';
import { asList, asObject, type JsonObject } from './json-object.ts';

type Message = Readonly<Record<string, unknown>>;

/** `POST /v1/chat/completions`. */
export function readChatConversation(body: JsonObject): Conversation | null {
  // A template of the client's own is a program from outside; the engine may run it, we do not.
  if (body['chat_template'] !== undefined && body['chat_template'] !== null) return null;
  const messages = asList(body['messages'])?.map(readChatMessage);
  if (messages === undefined || !isComplete(messages)) return null;
  return {
    messages,
    tools: nonEmpty(body['tools']),
    documents: nonEmpty(body['documents']),
    addGenerationPrompt: body['add_generation_prompt'] !== false && body['continue_final_message'] !== true,
    extras: asObject(body['chat_template_kwargs']) ?? {},
  };
}

/** `POST /v1/responses`: `instructions` and `input`, a text or a list of items. What an earlier response holds is not in the request. */
export function readResponseConversation(body: JsonObject): Conversation | null {
  if (typeof body['previous_response_id'] === 'string') return null;
  const { instructions, input } = body;
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : asList(input);
  const messages = items?.map(readResponseItem);
  if (messages === undefined || !isComplete(messages)) return null;
  return converse([...readSystem(instructions), ...messages], readFlatTools(body['tools'], 'parameters'));
}

/** `POST /v1/messages`: `system` and `messages`, whose contents are texts or blocks. */
export function readMessagesConversation(body: JsonObject): Conversation | null {
  const system = body['system'] === undefined ? '' : readText(body['system']);
  const messages = asList(body['messages'])?.map(readBlocks);
  if (system === null || messages === undefined || !isComplete(messages)) return null;
  return converse([...readSystem(system), ...messages.flat()], readFlatTools(body['tools'], 'input_schema'));
}

function converse(messages: readonly Message[], tools: readonly unknown[] | null): Conversation {
  return { messages, tools, documents: null, addGenerationPrompt: true, extras: {} };
}

function readSystem(text: unknown): readonly Message[] {
  return typeof text === 'string' && text !== '' ? [{ role: 'system', content: text }] : [];
}

function readChatMessage(value: unknown): Message | null {
  const message = asObject(value);
  const content = message === null ? null : readText(message['content']);
  if (message === null || content === null) return null;
  const { tool_calls: calls, ...rest } = message;
  const read = asList(calls)?.map(readToolCall) ?? [];
  if (!isComplete(read)) return null;
  return { ...rest, content, ...(read.length === 0 ? {} : { tool_calls: read }) };
}

function readToolCall(value: unknown): Message | null {
  const call = asObject(value);
  const called = asObject(call?.['function']);
  if (called === null) return null;
  return { ...call, function: { ...called, arguments: parseArguments(called['arguments']) } };
}

/** As engines do before they render: templates write the arguments as JSON themselves. */
function parseArguments(written: unknown): unknown {
  if (typeof written !== 'string') return written;
  try {
    return JSON.parse(written);
  } catch {
    return written;
  }
}

function readResponseItem(value: unknown): Message | null {
  const item = asObject(value);
  if (item === null) return null;
  const { type, call_id: id } = item;
  if (type === 'function_call') {
    const called = { name: item['name'], arguments: parseArguments(item['arguments']) };
    return { role: 'assistant', content: '', tool_calls: [{ id, type: 'function', function: called }] };
  }
  const content = readText(type === 'function_call_output' ? item['output'] : item['content']);
  if (content === null) return null;
  if (type === 'function_call_output') return { role: 'tool', tool_call_id: id, content };
  return typeof item['role'] === 'string' ? { role: item['role'], content } : null;
}

/** One Anthropic message; results of tools become messages of their own, as in OpenAI's protocol. */
function readBlocks(value: unknown): readonly Message[] | null {
  const message = asObject(value);
  if (message === null || typeof message['role'] !== 'string') return null;
  const { role, content } = message;
  if (typeof content === 'string') return [{ role, content }];
  const texts: string[] = [];
  const calls: Message[] = [];
  const results: Message[] = [];
  for (const block of asList(content) ?? [null]) {
    const part = asObject(block);
    if (part?.['type'] === 'tool_use') {
      calls.push({ id: part['id'], type: 'function', function: { name: part['name'], arguments: part['input'] } });
      continue;
    }
    const text = part?.['type'] === 'tool_result' ? readText(part['content']) : readPart(part);
    if (text === null) return null;
    if (part?.['type'] === 'tool_result')
      results.push({ role: 'tool', tool_call_id: part['tool_use_id'], content: text });
    else texts.push(text);
  }
  const own = { role, content: texts.join('\n'), ...(calls.length === 0 ? {} : { tool_calls: calls }) };
  return texts.length === 0 && calls.length === 0 ? results : [...results, own];
}

/** Tools as Responses and Anthropic write them (name and schema at the top) in OpenAI's chat form. */
function readFlatTools(tools: unknown, schemaKey: 'parameters' | 'input_schema'): readonly unknown[] | null {
  return (
    nonEmpty(tools)?.map((value) => {
      const tool = asObject(value);
      const described = { name: tool?.['name'], description: tool?.['description'], parameters: tool?.[schemaKey] };
      return { type: 'function', function: described };
    }) ?? null
  );
}

/** A content as one text: parts are joined by line breaks, as vLLM and trtllm-serve do. Null where a part is no text. */
function readText(content: unknown): string | null {
  if (content === undefined || content === null) return '';
  if (typeof content === 'string') return content;
  const parts = asList(content)?.map((part) => readPart(asObject(part)));
  return parts !== undefined && isComplete(parts) ? parts.join('\n') : null;
}

/** OpenAI's text and refusal parts, Responses' input_text and output_text, Anthropic's text and thinking blocks. */
function readPart(part: JsonObject | null): string | null {
  const text = part?.['text'] ?? part?.['refusal'] ?? part?.['thinking'];
  return typeof text === 'string' ? text : null;
}

function nonEmpty(value: unknown): readonly unknown[] | null {
  const list = asList(value);
  return list === undefined || list.length === 0 ? null : list;
}

function isComplete<Value>(values: readonly (Value | null)[]): values is readonly Value[] {
  return values.every((value) => value !== null);
}
