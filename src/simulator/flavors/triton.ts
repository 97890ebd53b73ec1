// Lives here: how Triton's OpenAI frontend takes requests and frames answers: role chunk before prefill, no cached
// tokens, always `stop`, FastAPI's `detail` errors. Facts: reference/upstreams.md §2.3–2.4. Not here: routes and timing.
import type { AnswerFrame, Flavor, HttpProblem, TokenPiece, TokenUsage, WholeChoice } from './flavor.ts';
import { describeToolCallPiece, describeToolCalls, formatEvent } from './flavor.ts';
import { refuseLength } from './kserve.ts';
import { isJsonObject } from '../inference-request.ts';
import type { InferenceRoute, JsonObject } from '../inference-request.ts';

const samplingFields =
  'model n best_of max_tokens temperature top_p stop seed stream stream_options logit_bias logprobs presence_penalty ' +
  'frequency_penalty user min_tokens ignore_eos top_k repetition_penalty';
const knownFields: Readonly<Partial<Record<InferenceRoute, ReadonlySet<string>>>> = {
  chat: new Set(
    (
      `${samplingFields} messages max_completion_tokens tools tool_choice top_logprobs response_format ` +
      'parallel_tool_calls functions function_call service_tier'
    ).split(' '),
  ),
  completions: new Set(`${samplingFields} prompt suffix echo`.split(' ')),
  embeddings: new Set('model input encoding_format dimensions user'.split(' ')),
};

function refuse(message: string): HttpProblem {
  return { status: 400, body: { detail: message } };
}

function check(route: InferenceRoute, body: JsonObject, servedModel: string): HttpProblem | undefined {
  const unknown = Object.keys(body).filter((field) => !(knownFields[route]?.has(field) ?? true));
  const required = ['model', route === 'chat' ? 'messages' : route === 'completions' ? 'prompt' : 'input'];
  const missing = required.filter((field) => body[field] === undefined);
  if (unknown.length + missing.length > 0) {
    const detail = [
      ...missing.map((field) => ({ type: 'missing', loc: ['body', field], msg: 'Field required', input: null })),
      ...unknown.map((field) => ({
        type: 'extra_forbidden',
        loc: ['body', field],
        msg: 'Extra inputs are not permitted',
        input: body[field],
      })),
    ];
    return { status: 422, body: { detail } };
  }
  if (body['model'] !== servedModel) return refuse(`Unknown model: ${String(body['model'])}`);
  for (const field of ['n', 'best_of']) {
    if (typeof body[field] === 'number' && body[field] > 1) return refuse(`${field} > 1 is not supported`);
  }
  for (const field of ['logit_bias', 'suffix', 'logprobs', 'top_logprobs']) {
    const value = body[field] ?? null;
    if (value !== null && value !== false) return refuse(`${field} is not supported`);
  }
  if (route === 'completions' && typeof body['prompt'] !== 'string') {
    return refuse('only single string inputs are supported');
  }
  return undefined;
}

function describeUsage(usage: TokenUsage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
  };
}

function formatChunk(frame: AnswerFrame, choices: readonly JsonObject[], usage: TokenUsage | null): string {
  return formatEvent(
    JSON.stringify({
      id: frame.id,
      choices,
      created: frame.created,
      model: frame.model,
      system_fingerprint: null,
      object: frame.route === 'chat' ? 'chat.completion.chunk' : 'text_completion',
      usage: usage === null ? null : describeUsage(usage),
    }),
  );
}

function finishReason(choice: { endReason: string | null; toolCall: object | null }): string | null {
  if (choice.endReason === null) return null;
  return choice.toolCall === null ? 'stop' : 'tool_calls';
}

function chunkChoice(route: InferenceRoute, piece: TokenPiece): JsonObject {
  if (route !== 'chat') {
    return { finish_reason: finishReason(piece), index: piece.choiceIndex, logprobs: null, text: piece.text };
  }
  const delta =
    piece.toolCall === null
      ? { content: piece.text, tool_calls: null, role: null }
      : { content: null, tool_calls: [describeToolCallPiece(piece.toolCall, piece.text)], role: null };
  return { delta, logprobs: null, finish_reason: finishReason(piece), index: piece.choiceIndex };
}

function wholeChoice(route: InferenceRoute, choice: WholeChoice): JsonObject {
  if (route !== 'chat') {
    return { finish_reason: finishReason(choice), index: choice.index, logprobs: null, text: choice.text };
  }
  const toolCalls = describeToolCalls(choice);
  const message =
    toolCalls.length > 0
      ? { content: '', tool_calls: toolCalls, role: 'assistant' }
      : { content: choice.text, tool_calls: null, role: 'assistant' };
  return { finish_reason: finishReason(choice), index: choice.index, message, logprobs: null };
}

/** Triton's OpenAI-compatible frontend. */
export const tritonFlavor: Flavor = {
  name: 'triton',
  routes: new Set<InferenceRoute>(['chat', 'completions', 'embeddings']),
  rolesBeforePrefill: true,
  disconnectLagMsMax: 0,
  defaultMaxTokens: 16,
  terminator: formatEvent('[DONE]'),
  usagePerPrompt: false,
  usageInLastToken: false,
  headers: () => ({}),
  check: ({ route, body, servedModel }) => check(route, body, servedModel),
  refuseLength,
  problem: (status, message, field) =>
    field === undefined
      ? { status, body: { detail: message } }
      : { status: 422, body: { detail: [{ type: 'value_error', loc: ['body', field], msg: message }] } },
  streamUsage(body) {
    const options = body['stream_options'];
    return { atEnd: isJsonObject(options) && options['include_usage'] === true, continuous: false };
  },
  answerId: ({ uuid }) =>
    `cmpl-${uuid.slice(0, 8)}-${uuid.slice(8, 12)}-${uuid.slice(12, 16)}-${uuid.slice(16, 20)}-${uuid.slice(20)}`,
  modelName: (requested) => requested,
  roleEvents: (frame, choiceIndices) =>
    frame.route === 'chat'
      ? choiceIndices
          .map((index) =>
            formatChunk(
              frame,
              [
                {
                  delta: { content: '', tool_calls: null, role: 'assistant' },
                  logprobs: null,
                  finish_reason: null,
                  index,
                },
              ],
              null,
            ),
          )
          .join('')
      : '',
  tokenEvent: (frame, piece) => formatChunk(frame, [chunkChoice(frame.route, piece)], null),
  usageEvent: (frame, usage) => formatChunk(frame, [], usage),
  errorEvent: (message) => formatEvent(JSON.stringify({ error: message })),
  wholeAnswer: (frame, choices, usage) => ({
    id: frame.id,
    choices: choices.map((choice) => wholeChoice(frame.route, choice)),
    created: frame.created,
    model: frame.model,
    system_fingerprint: null,
    object: frame.route === 'chat' ? 'chat.completion' : 'text_completion',
    usage: usage === null ? null : describeUsage(usage),
  }),
  modelCard: (served, createdAt) => ({
    id: served,
    created: createdAt,
    object: 'model',
    owned_by: 'Triton Inference Server',
  }),
};
