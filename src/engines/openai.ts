// Any other server that speaks OpenAI's protocol.
import type { EngineTraits } from '#domain/engine.ts';

/** Only what OpenAI's reference promises is assumed (upstreams.md §6). */
export const openai: EngineTraits = {
  name: 'openai',
  healthPath: '/v1/models',
  acceptsStreamOptions: true,
  bareStreamOptionsAskUsage: false,
  endsWithDone: true,
};
