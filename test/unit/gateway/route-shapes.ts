// Each metered route in the words of its protocol: whole answers, streams, usage and errors, for tests that go over all of them.

/** Counts as an engine would say them: prompt with its cached part, completion with its reasoning part. */
export interface SaidUsage {
  readonly prompt: number;
  readonly cached: number;
  readonly completion: number;
  readonly reasoning: number;
}

export interface RouteShapeCase {
  readonly path: string;
  readonly body: object;
  /** The whole answer; `usage` null as older servers say it. */
  whole(usage: SaidUsage | null): object;
  /** What comes before the content, with what is said of usage by then. */
  opening(usage: SaidUsage | null): string[];
  /** One event with content. */
  content(word: string): string;
  /** What ends the stream. */
  closing(usage: SaidUsage | null): string[];
  /** An error in the middle of the stream. */
  readonly error: string;
  /** What the gateway's own last event says where the engine broke off after two words. */
  readonly broken: object;
  /** Whether the prompt is said before the content. */
  readonly saysPromptFirst: boolean;
}

const data = (payload: object): string => `data: ${JSON.stringify(payload)}\n\n`;
const named = (type: string, payload: object): string => `event: ${type}\n${data({ type, ...payload })}`;

const openaiUsage = (usage: SaidUsage | null): object | null =>
  usage === null
    ? null
    : {
        prompt_tokens: usage.prompt,
        completion_tokens: usage.completion,
        total_tokens: usage.prompt + usage.completion,
        prompt_tokens_details: { cached_tokens: usage.cached },
        completion_tokens_details: { reasoning_tokens: usage.reasoning },
      };

const responsesUsage = (usage: SaidUsage | null): object | null =>
  usage === null
    ? null
    : {
        input_tokens: usage.prompt,
        input_tokens_details: { cached_tokens: usage.cached },
        output_tokens: usage.completion,
        output_tokens_details: { reasoning_tokens: usage.reasoning },
        total_tokens: usage.prompt + usage.completion,
      };

/** Anthropic's input leaves out what came from the cache; it knows no reasoning tokens. */
const anthropicUsage = (usage: SaidUsage | null, output: number): object | null =>
  usage === null
    ? null
    : { input_tokens: usage.prompt - usage.cached, cache_read_input_tokens: usage.cached, output_tokens: output };

const BROKEN = 'The engine broke off its answer.';
const MODEL = 'llama-3.1-70b';
const OPENAI_ERROR = data({ error: { message: 'the engine gave up after many words', type: 'server_error' } });

const createOpenai = (
  path: string,
  body: object,
  shape: { readonly message: (text: string) => object; readonly delta: (text: string) => object },
): RouteShapeCase => ({
  path,
  body: { model: MODEL, ...body },
  whole: (usage) => ({
    id: 'x',
    choices: [{ index: 0, ...shape.message('Hello you'), finish_reason: 'stop' }],
    usage: openaiUsage(usage),
  }),
  opening: () => [],
  content: (word) => data({ id: 'x', choices: [{ index: 0, ...shape.delta(word), finish_reason: null }] }),
  closing: (usage) => [
    data({ id: 'x', choices: [{ index: 0, ...shape.delta(''), finish_reason: 'stop' }] }),
    ...(usage === null ? [] : [data({ id: 'x', choices: [], usage: openaiUsage(usage) })]),
    'data: [DONE]\n\n',
  ],
  error: OPENAI_ERROR,
  broken: { error: { message: BROKEN, type: 'server_error', param: null, code: 'upstream_unreachable' } },
  saysPromptFirst: false,
});

export const CHAT = createOpenai(
  '/v1/chat/completions',
  { messages: [{ role: 'user', content: 'Hi' }] },
  { message: (content) => ({ message: { role: 'assistant', content } }), delta: (content) => ({ delta: { content } }) },
);

export const COMPLETIONS = createOpenai(
  '/v1/completions',
  { prompt: 'Hi' },
  { message: (text) => ({ text }), delta: (text) => ({ text }) },
);

export const RESPONSES: RouteShapeCase = {
  path: '/v1/responses',
  body: { model: MODEL, input: 'Hi' },
  whole: (usage) => ({
    object: 'response',
    status: 'completed',
    error: null,
    output: [{ type: 'message', content: [{ type: 'output_text', text: 'Hello you' }] }],
    usage: responsesUsage(usage),
  }),
  opening: () => [
    named('response.created', { response: { status: 'in_progress', error: null, usage: null } }),
    named('response.in_progress', { response: { status: 'in_progress', error: null, usage: null } }),
  ],
  content: (delta) => named('response.output_text.delta', { delta, output_index: 0 }),
  closing: (usage) => [
    named('response.output_text.done', { text: 'all of it' }),
    named('response.completed', { response: { status: 'completed', error: null, usage: responsesUsage(usage) } }),
  ],
  broken: { type: 'error', message: BROKEN, code: 'upstream_unreachable', param: null, sequence_number: 0 },
  error: named('error', { code: 'server_error', message: 'the engine gave up after many words' }),
  saysPromptFirst: false,
};

export const MESSAGES: RouteShapeCase = {
  path: '/v1/messages',
  body: { model: MODEL, max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }] },
  whole: (usage) => ({
    type: 'message',
    content: [{ type: 'text', text: 'Hello you' }],
    stop_reason: 'end_turn',
    usage: anthropicUsage(usage, usage?.completion ?? 0),
  }),
  opening: (usage) => [
    named('message_start', { message: { role: 'assistant', content: [], usage: anthropicUsage(usage, 1) } }),
    named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    named('ping', {}),
  ],
  content: (text) => named('content_block_delta', { index: 0, delta: { type: 'text_delta', text } }),
  closing: (usage) => [
    named('content_block_stop', { index: 0 }),
    named('message_delta', {
      delta: { stop_reason: 'end_turn' },
      usage: usage === null ? null : { output_tokens: usage.completion },
    }),
    named('message_stop', {}),
  ],
  broken: { type: 'error', error: { type: 'api_error', message: BROKEN, code: 'upstream_unreachable' } },
  error: named('error', { error: { type: 'overloaded_error', message: 'the engine gave up after many words' } }),
  saysPromptFirst: true,
};

/** Routes whose answers can stream. */
export const STREAMING: readonly RouteShapeCase[] = [CHAT, COMPLETIONS, RESPONSES, MESSAGES];
