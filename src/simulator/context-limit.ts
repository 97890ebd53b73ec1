// Lives here: whether the prompts of a request and what it wants of them fit the model's context, and how much room is left.
// Not here: the engines' words for it (flavors/), the KV cache all requests share (engine-core.ts).
import type { Flavor } from './flavors/flavor.ts';
import { isPooling } from './inference-request.ts';
import type { InferenceRequest } from './inference-request.ts';

/** A prompt, alone or with the answer asked for, is longer than the context; `status` and message are the flavour's. */
export class ContextLengthError extends Error {
  readonly status: number;
  readonly field: string | undefined;

  constructor(refusal: { readonly status: number; readonly message: string; readonly field?: string }) {
    super(refusal.message);
    this.name = 'ContextLengthError';
    this.status = refusal.status;
    this.field = refusal.field;
  }
}

/** Throws ContextLengthError for a request that the flavour would not take at this length of context. */
export function checkContext(flavor: Flavor, request: InferenceRequest, contextTokens: number): void {
  const generates = !isPooling(request.route);
  for (const { tokens } of request.prompts) {
    const refusal = flavor.refuseLength?.({
      promptTokens: tokens,
      maxTokens: generates ? request.maxTokens : null,
      // What is not asked to generate may fill the context.
      contextTokens: generates ? contextTokens : contextTokens + 1,
    });
    if (refusal !== undefined) throw new ContextLengthError(refusal);
  }
}
