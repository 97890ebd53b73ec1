// How many prompt tokens a request of each route costs, by the rules of the engines: which texts, with or without special tokens.
// Runs on the event loop for short requests and in count-worker.ts for long ones.
import type { Conversation } from './chat-template.ts';
import { asList, asObject, type JsonObject } from './json-object.ts';
import type { ModelTokenizer } from './model-tokenizer.ts';
import { readChatConversation, readMessagesConversation, readResponseConversation } from './read-conversation.ts';

/** Which fields of a request hold its prompt; the gateway's RouteShape. */
export type PromptShape = 'chat' | 'completion' | 'embedding' | 'response' | 'message' | 'rerank';

/**
 * Counts the prompt of a parsed request. Null where it cannot be counted: no prompt, parts that are no text, a conversation that the chat
 * template refuses. Never throws, since what a client sends decides.
 */
export function countPrompt(tokenizer: ModelTokenizer, body: unknown, shape: PromptShape): number | null {
  const request = asObject(body);
  if (request === null) return null;
  try {
    return truncate(countByShape(tokenizer, request, shape), request);
  } catch {
    // A template's refusal, or nesting too deep for it: the message may quote the prompt, so it is dropped.
    return null;
  }
}

/** Counts completion texts: no special tokens are added to what a model wrote. Null where the tokenizer fails on one. */
export function countTexts(tokenizer: ModelTokenizer, texts: readonly string[]): number | null {
  try {
    return texts.reduce((sum, text) => sum + tokenizer.count(text, { addSpecialTokens: false }), 0);
  } catch {
    return null;
  }
}

function countByShape(tokenizer: ModelTokenizer, request: JsonObject, shape: PromptShape): number | null {
  switch (shape) {
    case 'chat':
      return countConversation(tokenizer, readChatConversation(request), request);
    case 'response':
      return countConversation(tokenizer, readResponseConversation(request), request);
    case 'message':
      return countConversation(tokenizer, readMessagesConversation(request), request);
    case 'completion':
      // Triton's generate extension names it text_input.
      return countPlain(tokenizer, request['prompt'] ?? request['text_input'], request);
    case 'embedding':
      return request['messages'] === undefined
        ? countPlain(tokenizer, request['input'], request)
        : countConversation(tokenizer, readChatConversation(request), request);
    case 'rerank':
      return countPairs(tokenizer, request);
  }
}

/**
 * Templates write special tokens themselves, so the tokenizer adds none unless the request asks for it (vLLM, trtllm-serve). A model without
 * a template gets its messages' texts alone.
 */
function countConversation(
  tokenizer: ModelTokenizer,
  conversation: Conversation | null,
  request: JsonObject,
): number | null {
  if (conversation === null) return null;
  const rendered = tokenizer.renderChat(conversation);
  const addSpecialTokens = request['add_special_tokens'] === true;
  if (rendered !== null) return tokenizer.count(rendered, { addSpecialTokens });
  return conversation.messages.reduce((sum, { content }) => {
    return sum + (typeof content === 'string' ? tokenizer.count(content, { addSpecialTokens }) : 0);
  }, 0);
}

/** A text, a list of texts, token ids, or lists of token ids (upstreams.md §1.2); every text gets the special tokens. */
function countPlain(tokenizer: ModelTokenizer, prompt: unknown, request: JsonObject): number | null {
  const addSpecialTokens = request['add_special_tokens'] !== false;
  if (typeof prompt === 'string') return tokenizer.count(prompt, { addSpecialTokens });
  const list = asList(prompt);
  if (list === undefined || list.length === 0) return null;
  if (typeof list[0] === 'number') return countIds(list);
  let sum = 0;
  for (const item of list) {
    const count = typeof item === 'string' ? tokenizer.count(item, { addSpecialTokens }) : countIds(asList(item) ?? []);
    if (count === null) return null;
    sum += count;
  }
  return sum;
}

function countIds(ids: readonly unknown[]): number | null {
  return ids.length > 0 && ids.every((id) => Number.isSafeInteger(id)) ? ids.length : null;
}

/** A cross-encoder reads the query once with each document. */
function countPairs(tokenizer: ModelTokenizer, request: JsonObject): number | null {
  const { query } = request;
  const documents = asList(request['documents']);
  if (typeof query !== 'string' || documents === undefined) return null;
  let sum = 0;
  for (const document of documents) {
    const pair = typeof document === 'string' ? document : asObject(document)?.['text'];
    if (typeof pair !== 'string') return null;
    sum += tokenizer.count(query, { addSpecialTokens: true, pair });
  }
  return sum;
}

/** vLLM's `truncate_prompt_tokens` keeps the last that many tokens. */
function truncate(count: number | null, request: JsonObject): number | null {
  const most = request['truncate_prompt_tokens'];
  if (count === null || typeof most !== 'number' || !Number.isSafeInteger(most) || most < 1) return count;
  return Math.min(count, most);
}
