// Lives here: how vLLM takes requests and frames answers: any field is accepted, OpenAI's error envelope, prompt
// details only when enabled. Facts: reference/upstreams.md §5.1. Not here: routes and timing.
import type { AnswerFrame, Flavor, HttpProblem, LengthToCheck, TokenPiece, TokenUsage, WholeChoice } from './flavor.ts';
import {
  describeChatLogprobs,
  describeCompletionLogprobs,
  describeToolCallPiece,
  describeToolCalls,
  formatChunkHead,
  formatEvent,
} from './flavor.ts';
import { isJsonObject } from '../inference-request.ts';
import type { InferenceRoute, JsonObject } from '../inference-request.ts';

const errorTypes: Readonly<Record<number, string>> = {
  400: 'BadRequestError',
  404: 'NotFoundError',
  503: 'ServiceUnavailableError',
};

const idPrefixes: Readonly<Partial<Record<InferenceRoute, string>>> = {
  chat: 'chatcmpl',
  completions: 'cmpl',
  embeddings: 'embd',
};

function envelope(status: number, message: string, param: string | null = null): HttpProblem {
  const type = errorTypes[status] ?? 'InternalServerError';
  return { status, body: { error: { message, type, param, code: status } } };
}

function check(body: JsonObject, servedModel: string): HttpProblem | undefined {
  const model = body['model'] ?? servedModel;
  if (model !== servedModel) return envelope(404, `The model \`${String(model)}\` does not exist.`, 'model');
  const options = body['stream_options'] ?? null;
  if (options !== null && body['stream'] !== true) {
    return envelope(400, 'Stream options can only be defined when `stream=True`.', 'stream_options');
  }
  if ((body['suffix'] ?? null) !== null) return envelope(400, 'suffix is not currently supported', 'suffix');
  const least = body['min_tokens'] ?? 0;
  const most = body['max_completion_tokens'] ?? body['max_tokens'] ?? Infinity;
  if (typeof least === 'number' && typeof most === 'number' && least > most)
    return envelope(400, `min_tokens must be less than or equal to max_tokens=${most}, got ${least}.`);
  return undefined;
}

function refuseLength({ promptTokens, maxTokens, contextTokens }: LengthToCheck) {
  const wanted = maxTokens ?? 0;
  if (promptTokens < contextTokens && promptTokens + wanted <= contextTokens) return undefined;
  const message =
    `This model's maximum context length is ${contextTokens} tokens. However, you requested ${wanted} output tokens and your ` +
    `prompt contains at least ${promptTokens} input tokens, for a total of at least ${promptTokens + wanted} tokens. Please ` +
    'reduce the length of the input prompt or the number of requested output tokens.';
  return { status: 400, message, field: 'input_tokens' };
}

function chunkOf(frame: AnswerFrame, choices: readonly JsonObject[], usage: JsonObject | null): string {
  const usageText = usage === null ? '' : `,"usage":${JSON.stringify(usage)}`;
  return formatEvent(`{${formatChunkHead(frame)},"choices":${JSON.stringify(choices)}${usageText}}`);
}

function streamedUsage(usage: TokenUsage, details: boolean): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    completion_tokens: usage.completionTokens,
    ...(details ? { prompt_tokens_details: { cached_tokens: usage.cachedTokens } } : {}),
  };
}

function formatRoles(frame: AnswerFrame, choiceIndices: readonly number[], usage: JsonObject | null): string {
  if (frame.route !== 'chat') return '';
  const delta = { role: 'assistant', content: '' };
  return choiceIndices
    .map((index) => chunkOf(frame, [{ index, delta, logprobs: null, finish_reason: null }], usage))
    .join('');
}

function chunkChoice(route: InferenceRoute, piece: TokenPiece): JsonObject {
  if (route !== 'chat') {
    return {
      index: piece.choiceIndex,
      text: piece.text,
      logprobs: piece.logprobs ? describeCompletionLogprobs([piece.text]) : null,
      finish_reason: piece.endReason,
      stop_reason: null,
    };
  }
  const delta =
    piece.toolCall === null
      ? { content: piece.text }
      : { tool_calls: [describeToolCallPiece(piece.toolCall, piece.text)] };
  return {
    index: piece.choiceIndex,
    delta,
    logprobs: piece.logprobs ? describeChatLogprobs([piece.text]) : null,
    finish_reason: piece.endReason,
    ...(piece.endReason === null ? {} : { stop_reason: null }),
  };
}

function wholeChoice(route: InferenceRoute, choice: WholeChoice): JsonObject {
  if (route !== 'chat') {
    return {
      index: choice.index,
      text: choice.text,
      logprobs: choice.logprobs ? describeCompletionLogprobs(choice.tokens) : null,
      finish_reason: choice.endReason,
      stop_reason: null,
      prompt_logprobs: null,
    };
  }
  const content = choice.toolCall === null ? choice.text : null;
  return {
    index: choice.index,
    message: { role: 'assistant', content, refusal: null, tool_calls: describeToolCalls(choice), reasoning: null },
    logprobs: choice.logprobs ? describeChatLogprobs(choice.tokens) : null,
    finish_reason: choice.endReason,
    stop_reason: null,
  };
}

function describeWhole(frame: AnswerFrame, choices: readonly WholeChoice[], usage: JsonObject | null): JsonObject {
  return {
    id: frame.id,
    object: frame.route === 'chat' ? 'chat.completion' : 'text_completion',
    created: frame.created,
    model: frame.model,
    choices: choices.map((choice) => wholeChoice(frame.route, choice)),
    service_tier: null,
    system_fingerprint: null,
    usage,
    prompt_logprobs: null,
    kv_transfer_params: null,
  };
}

/** vLLM; the options are its flags `--enable-prompt-tokens-details` and `--max-model-len`. */
export function createVllmFlavor(options: { promptTokensDetails: boolean; maxModelLen: number }): Flavor {
  const { promptTokensDetails: details, maxModelLen } = options;
  return {
    name: 'vllm',
    routes: new Set<InferenceRoute>(['chat', 'completions', 'embeddings', 'rerank', 'score']),
    rolesBeforePrefill: false,
    disconnectLagMsMax: 0,
    defaultMaxTokens: undefined,
    terminator: formatEvent('[DONE]'),
    usagePerPrompt: false,
    usageInLastToken: false,
    tellsCached: details,
    headers: () => ({}),
    check: ({ body, servedModel }) => check(body, servedModel),
    refuseLength,
    problem: (status, message, field) => envelope(status, message, field ?? null),
    streamUsage(body) {
      const given = body['stream_options'];
      if (!isJsonObject(given)) return { atEnd: false, continuous: false };
      const atEnd = (given['include_usage'] ?? true) === true;
      return { atEnd, continuous: atEnd && given['continuous_usage_stats'] === true };
    },
    answerId: ({ route, requestId, uuid }) => `${idPrefixes[route] ?? route}-${requestId ?? uuid}`,
    modelName: (_requested, served) => served,
    roleEvents: (frame, choiceIndices, usage) =>
      formatRoles(frame, choiceIndices, usage === null ? null : streamedUsage(usage, details)),
    tokenEvent: (frame, piece) =>
      chunkOf(
        frame,
        [chunkChoice(frame.route, piece)],
        piece.runningUsage === null ? null : streamedUsage(piece.runningUsage, details),
      ),
    usageEvent: (frame, usage) => chunkOf(frame, [], streamedUsage(usage, details)),
    errorEvent: (message) => formatEvent(JSON.stringify(envelope(500, message).body)),
    wholeAnswer: (frame, choices, usage) =>
      describeWhole(
        frame,
        choices,
        usage === null ? null : { prompt_tokens_details: null, ...streamedUsage(usage, details) },
      ),
    modelCard: (served, createdAt) => ({
      id: served,
      object: 'model',
      created: createdAt,
      owned_by: 'vllm',
      root: served,
      parent: null,
      max_model_len: maxModelLen,
    }),
  };
}
