// Lives here: what every flavour of simulated engine must say for itself: which requests it takes and how its answers
// look on the wire. Not here: the flavours themselves (one file each) and when things are sent (answer-stream.ts).
import type { EndReason } from '../choice-script.ts';
import type { InferenceRoute, JsonObject } from '../inference-request.ts';

export type FlavorName = 'trtllm' | 'triton' | 'vllm' | 'transformers' | 'kserve';

/** An answer without generation, in the flavour's own envelope. */
export interface HttpProblem {
  readonly status: number;
  readonly body: unknown;
}

/** Token counts of one prompt's answers, or of the whole request. */
export interface TokenUsage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** What all events of one sub-stream have in common. */
export interface AnswerFrame {
  readonly route: InferenceRoute;
  readonly id: string;
  /** Epoch seconds. */
  readonly created: number;
  readonly model: string;
}

/** One token of one choice. */
export interface TokenPiece {
  readonly choiceIndex: number;
  /** Which token of its choice this is, from 0. */
  readonly index: number;
  readonly text: string;
  /** Set on the pieces of a tool call: `opens` is the one that names the function. */
  readonly toolCall: { readonly id: string; readonly name: string; readonly opens: boolean } | null;
  /** Set on the last token of the choice. */
  readonly endReason: EndReason | null;
  readonly logprobs: boolean;
  /** Usage of this choice so far, where every chunk is to carry it. */
  readonly runningUsage: TokenUsage | null;
}

/** A finished choice of an answer that is not streamed. */
export interface WholeChoice {
  readonly index: number;
  readonly text: string;
  /** Texts of the tokens, one each. */
  readonly tokens: readonly string[];
  readonly toolCall: { readonly id: string; readonly name: string } | null;
  readonly endReason: EndReason;
  readonly logprobs: boolean;
  /** The prompt, where the answer repeats it; null or absent: it does not. */
  readonly echoed?: { readonly text: string; readonly tokens: number } | null;
}

/** A request as the flavour checks it, before anything is read from it. */
export interface RequestToCheck {
  readonly route: InferenceRoute;
  readonly body: JsonObject;
  /** Name the engine serves. */
  readonly servedModel: string;
}

/** How long one prompt is, how long its answer may get at the client's word, and what the model has room for. */
export interface LengthToCheck {
  readonly promptTokens: number;
  /** Null where the request sets no limit. */
  readonly maxTokens: number | null;
  readonly contextTokens: number;
}

/** One kind of engine server. Everything here is pure. */
export interface Flavor {
  readonly name: FlavorName;
  readonly routes: ReadonlySet<InferenceRoute>;
  /** Whether role chunks are sent before the prompt has been computed. */
  readonly rolesBeforePrefill: boolean;
  /** Longest time until a client's disconnect is noticed, ms. */
  readonly disconnectLagMsMax: number;
  /** Tokens of an answer that nothing limits; undefined: the model decides. */
  readonly defaultMaxTokens: number | undefined;
  /** Last bytes of a stream. */
  readonly terminator: string;
  /** One usage event per prompt of a list instead of one for all. */
  readonly usagePerPrompt: boolean;
  /** Usage stands in the last token's event instead of an event of its own. */
  readonly usageInLastToken: boolean;
  /** False where the server is not set to tell what came from its cache; absent: it tells it where its protocol does. */
  readonly tellsCached?: boolean;
  /** Extra headers of every answer. */
  headers(requestId: string | null): Readonly<Record<string, string>>;
  /** The body in the form of the simulator's own routes; absent where it has that form. */
  translate?(body: JsonObject): JsonObject;
  /** Why the request is refused, or undefined. */
  check(request: RequestToCheck): HttpProblem | undefined;
  /** Why a prompt of that length is refused, or undefined; absent: the server knows no such limit. */
  refuseLength?(length: LengthToCheck): { status: number; message: string; field?: string } | undefined;
  /** A refusal or failure in the flavour's envelope. */
  problem(status: number, message: string, field?: string): HttpProblem;
  /** Whether the stream is to end with usage, and whether every chunk is to carry it. */
  streamUsage(body: JsonObject): { readonly atEnd: boolean; readonly continuous: boolean };
  /** Whether an answer that is not streamed has usage; absent means always. */
  wholeUsage?(body: JsonObject): boolean;
  /** Id of an answer. `engineId` counts the engine's requests, `uuid` is 32 hexadecimal digits. */
  answerId(request: { route: InferenceRoute; requestId: string | null; engineId: number; uuid: string }): string;
  /** The `model` an answer names. */
  modelName(requested: string, served: string): string;
  /** Events that open the choices; empty where the protocol has none. */
  roleEvents(frame: AnswerFrame, choiceIndices: readonly number[], usage: TokenUsage | null): string;
  tokenEvent(frame: AnswerFrame, piece: TokenPiece): string;
  usageEvent(frame: AnswerFrame, usage: TokenUsage): string;
  /** Events that close a stream and sum it up, in place of `usageEvent`; absent where the protocol has none. */
  endEvents?(frame: AnswerFrame, choices: readonly WholeChoice[], usage: TokenUsage | null): string;
  /** `tokensSent` tells how far the stream had come. */
  errorEvent(message: string, tokensSent?: number): string;
  /** Body of an answer that is not streamed; `usage` null leaves it out as the flavour does. */
  wholeAnswer(frame: AnswerFrame, choices: readonly WholeChoice[], usage: TokenUsage | null): unknown;
  modelCard(served: string, createdAt: number): JsonObject;
}

/** One server-sent event. */
export function formatEvent(json: string): string {
  return `data: ${json}\n\n`;
}

/** One server-sent event that says its type twice, as the Messages and Responses protocols do. */
export function formatNamedEvent(type: string, payload: JsonObject): string {
  return `event: ${type}\n${formatEvent(JSON.stringify({ type, ...payload }))}`;
}

/** `"id":…,"object":…,"created":…,"model":…` as it opens every chunk of the frame's route. */
export function formatChunkHead(frame: AnswerFrame): string {
  const object = frame.route === 'chat' ? 'chat.completion.chunk' : 'text_completion';
  return `"id":${JSON.stringify(frame.id)},"object":"${object}","created":${frame.created},"model":${JSON.stringify(frame.model)}`;
}

/** Log probabilities of one token in chat form: `content` has one entry per token. */
export function describeChatLogprobs(tokens: readonly string[]): JsonObject {
  return {
    content: tokens.map((token) => ({ token, logprob: -0.5, bytes: [...Buffer.from(token)], top_logprobs: [] })),
  };
}

/** Log probabilities in the form of completions: parallel lists with one entry per token. */
export function describeCompletionLogprobs(tokens: readonly string[]): JsonObject {
  let offset = 0;
  return {
    text_offset: tokens.map((token) => (offset += token.length) - token.length),
    token_logprobs: tokens.map(() => -0.5),
    tokens,
    top_logprobs: tokens.map((token) => ({ [token]: -0.5 })),
  };
}

/** `delta` of a chat chunk: the role was sent before, this is content or a piece of a tool call. */
export function describeToolCallPiece(toolCall: NonNullable<TokenPiece['toolCall']>, text: string): JsonObject {
  return toolCall.opens
    ? { index: 0, id: toolCall.id, type: 'function', function: { name: toolCall.name, arguments: text } }
    : { index: 0, function: { arguments: text } };
}

/** `tool_calls` of a whole chat message. */
export function describeToolCalls(choice: WholeChoice): JsonObject[] {
  if (choice.toolCall === null) return [];
  const { id, name } = choice.toolCall;
  return [{ id, type: 'function', function: { name, arguments: choice.text } }];
}
