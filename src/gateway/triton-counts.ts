// What TensorRT-LLM's answers count under Triton: whether `num_output_tokens` and `sequence_length` hold the prompt too. Where the numbers
// stand in an answer is kserve-answer's and, over gRPC, kserve-messages'.
import type { ReportedUsage } from './read-usage.ts';

/** What a request says of how its answer will count. */
export interface CountingRequest {
  /** Its own `exclude_input_in_output`; null leaves it to the model's configuration. */
  readonly excludesInput: boolean | null;
  /** Whether it asks for a reply per step, which never holds the prompt. */
  readonly streams: boolean;
  readonly maxTokens: number | null;
  /** Sequences in one reply (`beam_width`), each with the whole prompt. */
  readonly beams: number;
  /** `readStart` of the prompt; '' where it has no text. */
  readonly promptStart: string;
  /** The prompt in tokens, where it is sent so. */
  readonly inputIds: readonly number[] | null;
  /** Length of the prompt as the request says it (`input_lengths`); null without. */
  readonly inputLength: number | null;
}

/** The counts of one reply as they came. */
export interface ReplyCounts {
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  /** Whether TensorRT-LLM made it; null where nothing tells. vLLM's backend counts without the prompt although its text holds it. */
  readonly isTensorrtLlm: boolean | null;
}

/** What was generated, as far as it tells whether the prompt is in it. */
export interface ReplyContent {
  readonly text: string | null;
  /** Tokens of the first sequence. */
  readonly outputIds: readonly number[] | null;
}

/** Nothing that says how an answer counts: it counts what it generated. */
export const PLAIN_COUNTING: CountingRequest = {
  excludesInput: null,
  streams: true,
  maxTokens: null,
  beams: 1,
  promptStart: '',
  inputIds: null,
  inputLength: null,
};

/** Long enough that no answer begins with it by chance. */
const START_LENGTH = 64;
const READ_LENGTH = 512;

/** The beginning of a text without what tokenizers add or lose: white space and special tokens. */
export function readStart(text: string): string {
  return text
    .slice(0, READ_LENGTH)
    .replaceAll(/<[^<>\s]{1,24}>|\s+/g, '')
    .slice(0, START_LENGTH);
}

/**
 * Usage of one reply, its output without the prompt. The backend counts the tokens that its executor returns, and one that does not stream
 * returns the prompt first unless told otherwise (triton_backend/inflight_batcher_llm/src/model_instance_state.cc, `fillTritonResponse`;
 * its own statistics subtract input × beams in that case). `readContent` is called where only the content tells. Null where the reply counts
 * nothing.
 */
export function readReplyUsage(
  request: CountingRequest,
  reply: ReplyCounts,
  readContent: () => ReplyContent,
): ReportedUsage | null {
  const prompt = reply.inputTokens ?? request.inputLength;
  if (reply.outputTokens === null) {
    return reply.inputTokens === null ? null : { prompt, cached: null, completion: null, reasoning: null };
  }
  const completion = holdsPrompt(request, reply, readContent)
    ? reply.outputTokens - countHeld(request, reply)
    : reply.outputTokens;
  return { prompt, cached: null, completion, reasoning: null };
}

/** Tokens of the prompt in a reply that holds it: once in each of its sequences. */
function countHeld(request: CountingRequest, { inputTokens }: ReplyCounts): number {
  return (inputTokens ?? request.inputLength ?? 0) * request.beams;
}

function holdsPrompt(request: CountingRequest, reply: ReplyCounts, readContent: () => ReplyContent): boolean {
  const { maxTokens, beams, promptStart, inputIds } = request;
  const { outputTokens, isTensorrtLlm } = reply;
  if (request.streams || request.excludesInput === true || isTensorrtLlm === false) return false;
  const held = countHeld(request, reply);
  if (held === 0 || outputTokens === null || outputTokens < held) return false;
  // More than could have been generated.
  if (isTensorrtLlm === true && maxTokens !== null && outputTokens > maxTokens * beams) return true;
  const { text, outputIds } = readContent();
  if (inputIds !== null && outputIds !== null) return inputIds.every((id, index) => outputIds[index] === id);
  if (isTensorrtLlm !== true || text === null || promptStart === '') return false;
  return readStart(text).startsWith(promptStart);
}
