// Lives here: how `transformers serve` takes requests and frames answers: few fields, usage in the last token's chunk
// unasked, no terminator, `@main` behind the model. Facts: reference/upstreams.md §5.3. Not here: routes and timing.
import type { AnswerFrame, Flavor, HttpProblem, TokenPiece, TokenUsage, WholeChoice } from './flavor.ts';
import { describeToolCallPiece, describeToolCalls, formatChunkHead, formatEvent } from './flavor.ts';
import { isJsonObject } from '../inference-request.ts';
import type { InferenceRoute, JsonObject } from '../inference-request.ts';

// `ignore_eos` is the simulator's own: without it traffic of exact lengths could not be sent to a baseline.
const knownFields = new Set(
  (
    'model messages prompt stream max_tokens temperature top_p seed stop frequency_penalty presence_penalty ' +
    'generation_config tools ignore_eos'
  ).split(' '),
);

function describeUsage(usage: TokenUsage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
  };
}

function chunkOf(frame: AnswerFrame, choice: JsonObject, usage: TokenUsage | null): string {
  const usageText = usage === null ? '' : `,"usage":${JSON.stringify(describeUsage(usage))}`;
  return formatEvent(`{${formatChunkHead(frame)},"choices":[${JSON.stringify(choice)}]${usageText}}`);
}

function chunkChoice(route: InferenceRoute, piece: TokenPiece): JsonObject {
  const end = piece.endReason === null ? {} : { finish_reason: piece.endReason };
  if (route !== 'chat') return { index: piece.choiceIndex, text: piece.text, ...end };
  const delta =
    piece.toolCall === null
      ? { content: piece.text }
      : { tool_calls: [describeToolCallPiece(piece.toolCall, piece.text)] };
  return { index: piece.choiceIndex, delta, ...end };
}

function wholeChoice(route: InferenceRoute, choice: WholeChoice): JsonObject {
  if (route !== 'chat') {
    return { index: choice.index, text: choice.text, finish_reason: choice.endReason, logprobs: null };
  }
  const toolCalls = describeToolCalls(choice);
  return {
    index: choice.index,
    message:
      toolCalls.length > 0
        ? { role: 'assistant', content: null, tool_calls: toolCalls }
        : { role: 'assistant', content: choice.text },
    finish_reason: choice.endReason,
    logprobs: null,
  };
}

// A conversation that ends with the assistant's own turn gets an empty object, and no generation.
function answerOwnTurn(body: JsonObject): HttpProblem | undefined {
  const { messages } = body;
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  return isJsonObject(last) && last['role'] === 'assistant' ? { status: 200, body: {} } : undefined;
}

/** Hugging Face `transformers serve`. */
export const transformersFlavor: Flavor = {
  name: 'transformers',
  routes: new Set<InferenceRoute>(['chat', 'completions']),
  rolesBeforePrefill: false,
  disconnectLagMsMax: 0,
  defaultMaxTokens: undefined,
  terminator: '',
  usagePerPrompt: false,
  usageInLastToken: true,
  headers: (requestId): Record<string, string> => (requestId === null ? {} : { 'x-request-id': requestId }),
  check({ body }) {
    const unknown = Object.keys(body).filter((field) => !knownFields.has(field));
    if (unknown.length === 0) return answerOwnTurn(body);
    const list = unknown.map((field) => `'${field}'`).join(', ');
    return { status: 422, body: { detail: `Unexpected keys in the request: {${list}}` } };
  },
  problem: (status, message, field) => ({ status: field === undefined ? status : 422, body: { detail: message } }),
  streamUsage: () => ({ atEnd: true, continuous: false }),
  answerId: ({ requestId, uuid }) => requestId ?? uuid,
  modelName: (requested, served) => `${(requested === '' ? served : requested).replace(/@.*$/, '')}@main`,
  roleEvents: (frame, choiceIndices) =>
    frame.route === 'chat'
      ? choiceIndices.map((index) => chunkOf(frame, { index, delta: { role: 'assistant' } }, null)).join('')
      : '',
  tokenEvent: (frame, piece) => chunkOf(frame, chunkChoice(frame.route, piece), piece.runningUsage),
  usageEvent: () => '',
  errorEvent: (message) => `data: {"error": ${JSON.stringify(message)}}\n\n`,
  wholeAnswer: (frame, choices, usage) => ({
    id: frame.id,
    object: frame.route === 'chat' ? 'chat.completion' : 'text_completion',
    created: frame.created,
    model: frame.model,
    choices: choices.map((choice) => wholeChoice(frame.route, choice)),
    usage: usage === null ? null : describeUsage(usage),
  }),
  modelCard: (served, createdAt) => ({ id: served, object: 'model', created: createdAt, owned_by: 'transformers' }),
};
