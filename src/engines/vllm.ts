// vLLM's OpenAI server.
import type { EngineTraits } from '#domain/engine.ts';

/** Unknown fields are accepted, `include_usage` defaults to true inside the object (upstreams.md §5.1). */
export const vllm: EngineTraits = {
  name: 'vllm',
  healthPath: '/health',
  acceptsStreamOptions: true,
  bareStreamOptionsAskUsage: true,
  endsWithDone: true,
};
