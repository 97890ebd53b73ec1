// Triton's own KServe v2 HTTP server.
import type { EngineTraits } from '#domain/engine.ts';

/** `generate_stream` ends with the connection, without `[DONE]` (upstreams.md §3.2). */
export const triton: EngineTraits = {
  name: 'triton',
  healthPath: '/v2/health/ready',
  acceptsStreamOptions: false,
  bareStreamOptionsAskUsage: false,
  endsWithDone: false,
  speaksKserve: true,
};
