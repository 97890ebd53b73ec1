// Lives here: `/v1/messages/count_tokens`: what a message would count as its prompt, without the engine.
// Not here: how a message is read (flavors/messages.ts, inference-request.ts).
import type { IncomingMessage, ServerResponse } from 'node:http';
import { checkFields } from './check-fields.ts';
import type { InferenceContext } from './answer-inference.ts';
import { sendJson } from './answer-whole.ts';
import { MalformedRequestError, parseInferenceRequest } from './inference-request.ts';
import { UnreadableBodyError, readJsonBody } from './read-json-body.ts';

/** Answers with `input_tokens`; `context.flavor` speaks the Messages protocol. Never rejects. */
export async function countTokens(
  { flavor }: InferenceContext,
  { req, res }: { readonly req: IncomingMessage; readonly res: ServerResponse },
): Promise<void> {
  try {
    const sent = await readJsonBody(req);
    const { max_tokens: _limit, ...body } = flavor.translate?.(sent) ?? sent;
    const [prompt] = parseInferenceRequest('chat', checkFields('chat', body)).prompts;
    sendJson(res, 200, { input_tokens: prompt?.tokens ?? 0 });
  } catch (error) {
    const known = error instanceof MalformedRequestError || error instanceof UnreadableBodyError;
    const { status, body } = flavor.problem(known ? 400 : 500, error instanceof Error ? error.message : 'failure');
    sendJson(res, status, body);
  }
}
