// Whether a stream's usage must be asked for by the gateway, or the client already asked, as the engine itself would see it.
import type { EngineTraits } from '#domain/engine.ts';
import type { ParsedRequest } from './parse-request.ts';

/** `inject`: add include_usage and take the extra chunk out again. `leave`: the body stays, and so does every chunk. */
export type UsagePlan = 'inject' | 'leave';

/**
 * Injects only for `stream: true` (engines refuse stream_options without it), only where the engine accepts the field, never over a
 * `stream_options` that is no object (the engine shall say what it thinks of it), and never where `continuous_usage_stats` would
 * come alive through it and put usage into chunks the client did not ask to change.
 */
export function planUsage(request: ParsedRequest, traits: EngineTraits): UsagePlan {
  if (!request.stream || !traits.acceptsStreamOptions) return 'leave';
  const options = request.streamOptions;
  if (options === undefined || options === null) return 'inject';
  if (typeof options !== 'object' || Array.isArray(options)) return 'leave';
  const { include_usage: flag, continuous_usage_stats: continuous } = options as Record<string, unknown>;
  const asked = flag === undefined ? traits.bareStreamOptionsAskUsage : flag === true;
  if (asked) return 'leave';
  return flag === undefined || flag === false || flag === null ? (continuous === true ? 'leave' : 'inject') : 'leave';
}
