// What one event of a streamed answer, or a whole JSON answer, tells a calibration: a token, an end, counts.

/** Counts as the engine reported them; null where it did not. */
export interface ReportedUsage {
  readonly promptTokens: number | null;
  readonly cachedTokens: number;
  readonly completionTokens: number | null;
}

export interface ProbeEvent {
  /** It carries generated text, or says that the choice ended: at that moment a token existed. */
  readonly hasToken: boolean;
  readonly hasText: boolean;
  readonly usage: ReportedUsage | null;
  /** Tokens per iteration, where the engine says so (TensorRT-LLM's `avg_decoded_tokens_per_iter`). */
  readonly tokensPerIteration: number | null;
  /** The engine's error message of an error event; null for none. */
  readonly error: string | null;
}

const asObject = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
const asCount = (value: unknown): number | null =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';

/** Reads the JSON of one event; undefined where it is no JSON object. */
export function readProbeEvent(json: string): ProbeEvent | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    return undefined;
  }
  const event = asObject(parsed);
  const choices = Array.isArray(event['choices']) ? event['choices'].map(asObject) : [];
  const texts = choices.map((choice) => {
    const delta = asObject(choice['delta']);
    return [choice['text'], delta['content'], delta['reasoning_content'], delta['reasoning']].some(isText);
  });
  const ended = choices.some((choice) => isText(choice['finish_reason']));
  const hasText = texts.includes(true);
  const perIteration = choices.map((choice) => choice['avg_decoded_tokens_per_iter']).find((one) => one !== undefined);
  const failure = event['error'] ?? (event['object'] === 'error' ? event : undefined);
  return {
    hasText,
    hasToken: hasText || ended,
    usage: readUsage(event['usage']),
    tokensPerIteration: typeof perIteration === 'number' && perIteration > 0 ? perIteration : null,
    error: failure === undefined || failure === null ? null : readMessage(failure),
  };
}

/** OpenAI's `usage` object; null where there is none. */
export function readUsage(value: unknown): ReportedUsage | null {
  if (typeof value !== 'object' || value === null) return null;
  const usage = asObject(value);
  return {
    promptTokens: asCount(usage['prompt_tokens']),
    cachedTokens: asCount(asObject(usage['prompt_tokens_details'])['cached_tokens']) ?? 0,
    completionTokens: asCount(usage['completion_tokens']),
  };
}

function readMessage(failure: unknown): string {
  const message = typeof failure === 'string' ? failure : asObject(failure)['message'];
  return typeof message === 'string' ? message : 'an error without a message';
}
