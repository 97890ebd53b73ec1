// transformers serve.
import type { EngineTraits } from '#domain/engine.ts';

/** Refuses `stream_options` with 422, sends usage unasked in the last content chunk and no `[DONE]` (upstreams.md §5.3). */
export const transformers: EngineTraits = {
  name: 'transformers',
  healthPath: '/health',
  acceptsStreamOptions: false,
  bareStreamOptionsAskUsage: false,
  endsWithDone: false,
};
