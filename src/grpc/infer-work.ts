// What is known of the work of one ModelInfer request before and after its engine: the joint to admission and to the token rules.
import type { ParsedRequest } from '#gateway/parse-request.ts';
import type { AttemptEnding } from '#gateway/request-meter.ts';
import type { ReportedUsage } from '#gateway/read-usage.ts';
import { resolveTokens } from '#gateway/resolve-tokens.ts';
import type { InferRequestFacts } from './kserve-messages.ts';

/** The request as admission and balancing see it. */
export function toParsedRequest(facts: InferRequestFacts, stream: boolean): ParsedRequest {
  return {
    model: facts.modelName === '' ? null : facts.modelName,
    stream,
    streamOptions: undefined,
    maxTokens: facts.maxTokens,
    promptCount: 1,
    sequences: 1,
    user: null,
    promptTextBytes: facts.promptTextBytes,
  };
}

/** The counts of a request that ended: reported where its replies had them, else by its replies (streams), else unknown. */
export function resolveInferTokens(evidence: {
  readonly usage: ReportedUsage | null;
  readonly promptTextBytes: number;
  readonly isStream: boolean;
  readonly work: 'tokens' | 'duration';
  /** HTTP status of what the engine answered; null where it did not. */
  readonly engineStatus: number | null;
  /** Replies with outputs. */
  readonly replies: number;
}): Pick<AttemptEnding, 'tokens' | 'tokenSource'> {
  const { replies, ...known } = evidence;
  const { tokens, source } = resolveTokens({
    ...known,
    prefillOnly: false,
    contentEvents: replies,
    contentBytes: null,
  });
  return { tokens, tokenSource: source };
}
