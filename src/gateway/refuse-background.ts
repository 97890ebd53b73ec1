// Responses requests that ask for work after their answer. vLLM answers `queued` at once and computes on, for a record that has ended
// (vllm/entrypoints/openai, `OpenAIServingResponses`): nobody would be charged, and what it computed could only be fetched past the gateway.
import type { EngineTraits } from '#domain/engine.ts';
import { GatewayError } from '#domain/errors.ts';
import type { RouteShape } from './metered-routes.ts';

/** Throws 400 `invalid_request` where a request asks an engine to work in the background that may do so. */
export function refuseBackground(
  fields: Readonly<Record<string, unknown>>,
  shape: RouteShape,
  traits: EngineTraits | undefined,
): void {
  const { background } = fields;
  if (shape !== 'response' || background === undefined || background === null || background === false) return;
  if (traits?.ignoresBackground === true) return;
  throw new GatewayError('invalid_request', {
    text: 'Background responses are not served here: send the request without background, with stream to see it progress.',
    param: 'background',
  });
}
