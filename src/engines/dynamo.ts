// NVIDIA Dynamo's frontend.
import type { EngineTraits } from '#domain/engine.ts';

/** `/health` knows the workers, `/live` only the frontend (upstreams.md §5.5). */
export const dynamo: EngineTraits = {
  name: 'dynamo',
  healthPath: '/health',
  acceptsStreamOptions: true,
  bareStreamOptionsAskUsage: false,
  endsWithDone: true,
};
