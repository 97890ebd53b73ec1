// Triton's OpenAI-compatible frontend.
import type { EngineTraits } from '#domain/engine.ts';

/** Answers 400 on the health route while not ready; usage may be missing although asked for (upstreams.md §2). */
export const tritonOpenai: EngineTraits = {
  name: 'triton-openai',
  healthPath: '/health/ready',
  acceptsStreamOptions: true,
  bareStreamOptionsAskUsage: false,
  endsWithDone: true,
};
