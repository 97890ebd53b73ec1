// The last event of a stream that broke, in the words of its protocol. Errors as whole answers are openai-error's.
import { type ErrorContent, renderEnvelope } from './openai-error.ts';
import type { MeteredRoute } from './metered-routes.ts';

/**
 * One event, complete with its blank line. OpenAI's chat and completions have no name for it: their SDKs throw on `data.error`. Anthropic's
 * and the Responses API's are called `error`; the latter holds the error flat, numbered like every event of its stream (`ResponseErrorEvent`
 * of the official SDK's types). `sequence` is the number it gets.
 */
export function renderErrorEvent(
  error: ErrorContent,
  route: Pick<MeteredRoute, 'protocol' | 'shape'>,
  sequence: number,
): string {
  if (route.shape === 'response') {
    const { code, message, param } = error;
    const data = {
      type: 'error',
      code: code === null ? null : String(code),
      message,
      param,
      sequence_number: sequence,
    };
    return `event: error\ndata: ${JSON.stringify(data)}\n\n`;
  }
  const name = route.protocol === 'anthropic' ? 'event: error\n' : '';
  return `${name}data: ${renderEnvelope(error, route.protocol)}\n\n`;
}
