// NVIDIA NIM for LLMs.
import type { EngineTraits } from '#domain/engine.ts';

/** `/v1/health/live` is up before the model is, so readiness is asked (upstreams.md §5.4). */
export const nim: EngineTraits = {
  name: 'nim',
  healthPath: '/v1/health/ready',
  acceptsStreamOptions: true,
  bareStreamOptionsAskUsage: true,
  endsWithDone: true,
};
