// NVIDIA trtllm-serve.
import type { EngineTraits } from '#domain/engine.ts';

/**
 * `/health_generate` would run a real one-token chat, so `/health` it is (upstreams.md §1.1). Its `/metrics` is JSON, not Prometheus text, and background
 * Responses are answered in the foreground (§1.6).
 */
export const tensorrtLlm: EngineTraits = {
  name: 'tensorrt-llm',
  healthPath: '/health',
  acceptsStreamOptions: true,
  bareStreamOptionsAskUsage: true,
  endsWithDone: true,
  ignoresBackground: true,
  runsBestOf: true,
  iterationsPath: '/metrics',
  requestTimingsPath: '/perf_metrics',
};
