// Hugging Face Text Generation Inference.
import type { EngineTraits } from '#domain/engine.ts';

/** Sends usage only for an explicit `include_usage: true` (upstreams.md §5.2). */
export const tgi: EngineTraits = {
  name: 'tgi',
  healthPath: '/health',
  acceptsStreamOptions: true,
  bareStreamOptionsAskUsage: false,
  endsWithDone: true,
};
