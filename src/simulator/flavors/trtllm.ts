// Lives here: how trtllm-serve (TensorRT-LLM) takes requests and frames answers: strict fields, a space before the
// newlines of the role chunk, usage on request. Facts: reference/upstreams.md §1.2–1.5. Not here: routes and timing.
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

const samplingFields =
  'model n best_of max_tokens max_completion_tokens temperature top_p top_k min_p stop stop_token_ids seed stream ' +
  'stream_options logit_bias logprobs presence_penalty frequency_penalty repetition_penalty length_penalty ' +
  'early_stopping use_beam_search include_stop_str_in_output ignore_eos min_tokens skip_special_tokens ' +
  'spaces_between_special_tokens truncate_prompt_tokens user response_format lora_request cache_salt priority ' +
  'conversation_params disaggregated_params prompt_token_ids add_special_tokens top_p_min prompt_ignore_length';
const knownFields: Readonly<Partial<Record<InferenceRoute, ReadonlySet<string>>>> = {
  chat: new Set(
    (
      `${samplingFields} messages tools tool_choice top_logprobs parallel_tool_calls reasoning_effort echo documents ` +
      'chat_template chat_template_kwargs add_generation_prompt mm_processor_kwargs'
    ).split(' '),
  ),
  completions: new Set(`${samplingFields} prompt echo suffix detokenize return_context_logits`.split(' ')),
  embeddings: new Set('model input encoding_format dimensions user'.split(' ')),
};
const knownStreamOptions = new Set(['include_usage', 'continuous_usage_stats']);

function refuse(message: string): HttpProblem {
  return { status: 400, body: { error: message } };
}

function check(route: InferenceRoute, body: JsonObject): HttpProblem | undefined {
  const unknown = Object.keys(body).filter((field) => !(knownFields[route]?.has(field) ?? true));
  if (unknown.length > 0) {
    return refuse(
      unknown
        .map(
          (field) =>
            `{'type': 'extra_forbidden', 'loc': ('body', '${field}'), 'msg': 'Extra inputs are not permitted'}`,
        )
        .join(', '),
    );
  }
  const options = body['stream_options'] ?? null;
  if (options !== null) {
    if (body['stream'] !== true) return refuse('Stream options can only be defined when `stream=True`.');
    if (!isJsonObject(options))
      return refuse("{'loc': ('body', 'stream_options'), 'msg': 'Input should be an object'}");
    const extra = Object.keys(options).find((field) => !knownStreamOptions.has(field));
    if (extra !== undefined) {
      return refuse(`{'loc': ('body', 'stream_options', '${extra}'), 'msg': 'Extra inputs are not permitted'}`);
    }
  }
  if (body['suffix'] !== undefined && body['suffix'] !== null) return refuse('suffix is not supported');
  return undefined;
}

// A limit beyond what is left is cut to it without a word; only a prompt that leaves nothing is refused.
function refuseLength({ promptTokens, contextTokens }: LengthToCheck) {
  const left = contextTokens - promptTokens;
  if (left > 0) return undefined;
  const message =
    `\`default_max_tokens\` (${left}) must be greater than 0, \`default_max_tokens\` (${left}) = max_seq_len (${contextTokens}) - ` +
    `\`splited_prompt_len\` (${promptTokens}) - \`query_token_len\` (0)`;
  return { status: 400, message };
}

function describeUsage(usage: TokenUsage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    completion_tokens: usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}

function chunkOf(frame: AnswerFrame, choice: string, usage: TokenUsage | null): string {
  // Chat chunks omit what is null, completion chunks keep it.
  const usageText =
    usage === null
      ? frame.route === 'chat'
        ? ''
        : ',"usage":null'
      : `,"usage":${JSON.stringify(describeUsage(usage))}`;
  return `{${formatChunkHead(frame)},"choices":[${choice}]${usageText}}`;
}

function chatChoice(piece: TokenPiece): string {
  const delta =
    piece.toolCall === null
      ? { content: piece.text, reasoning_content: '' }
      : { tool_calls: [describeToolCallPiece(piece.toolCall, piece.text)] };
  const logprobs = piece.logprobs ? `,"logprobs":${JSON.stringify(describeChatLogprobs([piece.text]))}` : '';
  const end = piece.endReason === null ? ',"avg_decoded_tokens_per_iter":1.0' : `,"finish_reason":"${piece.endReason}"`;
  return `{"index":${piece.choiceIndex},"delta":${JSON.stringify(delta)}${logprobs}${end}}`;
}

function completionChoice(
  choice: Pick<TokenPiece, 'text' | 'logprobs'>,
  index: number,
  endReason: string | null,
): string {
  const logprobs = choice.logprobs ? describeCompletionLogprobs([choice.text]) : null;
  return (
    `{"index":${index},"text":${JSON.stringify(choice.text)},"token_ids":null,"logprobs":${JSON.stringify(logprobs)},` +
    `"context_logits":null,"finish_reason":${JSON.stringify(endReason)},"stop_reason":null,` +
    '"disaggregated_params":null,"avg_decoded_tokens_per_iter":1.0}'
  );
}

function wholeChoice(route: InferenceRoute, choice: WholeChoice): JsonObject {
  const tail = { stop_reason: null, disaggregated_params: null, avg_decoded_tokens_per_iter: 1 };
  if (route === 'chat') {
    return {
      index: choice.index,
      message: {
        role: 'assistant',
        content: choice.toolCall === null ? choice.text : '',
        reasoning_content: '',
        reasoning: null,
        tool_calls: describeToolCalls(choice),
      },
      logprobs: choice.logprobs ? describeChatLogprobs(choice.tokens) : null,
      finish_reason: choice.endReason,
      mm_embedding_handle: null,
      ...tail,
    };
  }
  return {
    index: choice.index,
    text: choice.text,
    token_ids: null,
    logprobs: choice.logprobs ? describeCompletionLogprobs(choice.tokens) : null,
    context_logits: null,
    finish_reason: choice.endReason,
    ...tail,
  };
}

/** trtllm-serve. */
export const trtllmFlavor: Flavor = {
  name: 'trtllm',
  routes: new Set<InferenceRoute>(['chat', 'completions', 'embeddings']),
  rolesBeforePrefill: false,
  disconnectLagMsMax: 1000,
  defaultMaxTokens: undefined,
  terminator: formatEvent('[DONE]'),
  usagePerPrompt: true,
  usageInLastToken: false,
  headers: () => ({}),
  check: ({ route, body }) => check(route, body),
  refuseLength,
  problem: (status, message, field) =>
    // A body that does not validate has the string form, everything later the flat form.
    field === undefined
      ? { status, body: { object: 'error', message, type: 'BadRequestError', param: null, code: status } }
      : { status, body: { error: `{'loc': ('body', '${field}'), 'msg': '${message}'}` } },
  streamUsage(body) {
    const options = body['stream_options'];
    if (!isJsonObject(options)) return { atEnd: false, continuous: false };
    const atEnd = (options['include_usage'] ?? true) === true;
    return { atEnd, continuous: atEnd && options['continuous_usage_stats'] === true };
  },
  answerId: ({ route, engineId }) => `${route === 'chat' ? 'chatcmpl' : 'cmpl'}-${engineId}`,
  modelName: (requested) => requested,
  roleEvents: (frame, choiceIndices, usage) =>
    frame.route === 'chat'
      ? choiceIndices
          .map((index) => `data: ${chunkOf(frame, `{"index":${index},"delta":{"role":"assistant"}}`, usage)} \n\n`)
          .join('')
      : '',
  tokenEvent: (frame, piece) =>
    formatEvent(
      chunkOf(
        frame,
        frame.route === 'chat' ? chatChoice(piece) : completionChoice(piece, piece.choiceIndex, piece.endReason),
        piece.runningUsage,
      ),
    ),
  usageEvent: (frame, usage) => formatEvent(chunkOf(frame, '', usage)),
  errorEvent: (message) =>
    formatEvent(JSON.stringify({ object: 'error', message, type: 'InternalServerError', param: null, code: 500 })),
  wholeAnswer: (frame, choices, usage) => ({
    id: frame.id,
    object: frame.route === 'chat' ? 'chat.completion' : 'text_completion',
    created: frame.created,
    model: frame.model,
    choices: choices.map((choice) => wholeChoice(frame.route, choice)),
    usage: usage === null ? null : describeUsage(usage),
    prompt_token_ids: null,
  }),
  modelCard: (served, createdAt) => ({ id: served, object: 'model', created: createdAt, owned_by: 'tensorrt_llm' }),
};
