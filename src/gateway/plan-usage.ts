// Whether a stream's usage must be asked for by the gateway, or the client already asked, as the engine itself would see it.
import type { EngineTraits } from '#domain/engine.ts';
import type { ParsedRequest } from './parse-request.ts';

/**
 * `inject`: add include_usage and take the extra chunk out again. `inject-continuous`: ask for running counts too, and take them out
 * of every event. `add-continuous`: the client asked for the chunk, so only the running counts are taken out. `leave`: the body stays,
 * and so does every chunk.
 */
export type UsagePlan = 'inject' | 'inject-continuous' | 'add-continuous' | 'leave';

/**
 * Injects only for `stream: true` (engines refuse stream_options without it), only where the engine accepts the field, never over a
 * `stream_options` that is no object (the engine shall say what it thinks of it), and never where `continuous_usage_stats` would
 * come alive through it and put usage into chunks the client did not ask to change. `continuous` is the deployment's wish for running
 * counts (`continuousUsage`); a client that speaks of them itself gets what it says.
 */
export function planUsage(request: ParsedRequest, traits: EngineTraits, continuous = false): UsagePlan {
  if (!request.stream || !traits.acceptsStreamOptions) return 'leave';
  const inject = continuous ? 'inject-continuous' : 'inject';
  const options = request.streamOptions;
  if (options === undefined || options === null) return inject;
  if (typeof options !== 'object' || Array.isArray(options)) return 'leave';
  const { include_usage: flag, continuous_usage_stats: running } = options as Record<string, unknown>;
  const isSilent = running === undefined || running === null || running === false;
  const asked = flag === undefined ? traits.bareStreamOptionsAskUsage : flag === true;
  if (asked) return continuous && isSilent ? 'add-continuous' : 'leave';
  if (flag !== undefined && flag !== false && flag !== null) return 'leave';
  return isSilent ? inject : running === true ? 'leave' : 'inject';
}
