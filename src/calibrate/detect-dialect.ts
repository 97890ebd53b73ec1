// Finds out, with a few tiny requests, which route and which fields this engine takes.
import { type Dialect, type EngineLink, ProbeFailedError, ProbeRefusedError } from './engine-link.ts';
import type { PromptWriter } from './prompt-text.ts';
import { sendProbe } from './send-probe.ts';

/** Without the length fields an answer may end when the model likes; the measurements cope, with less data. */
const LENGTH_FIELDS = [['ignore_eos', 'min_tokens'], ['ignore_eos'], ['min_tokens'], []] as const;
/** Statuses that blame a field of the request: the next combination may be better. */
const FIELD_STATUSES = new Set([400, 422]);
/** Statuses that say that this route is not served. */
const ROUTE_STATUSES = new Set([404, 405, 501]);

/**
 * Completions before chat, since a raw prompt has no template that a prefix cache would know; embeddings last. Rejects with
 * ProbeRefusedError or ProbeFailedError where the engine answers none of them.
 */
export async function detectDialect(link: EngineLink, writer: PromptWriter): Promise<Dialect> {
  let refusal: Error | undefined;
  for (const route of ['completions', 'chat', 'embeddings'] as const) {
    for (const dialect of listDialects(link, route)) {
      try {
        await sendProbe(link, dialect, { text: writer.write(24), outputTokens: 4 });
        return dialect;
      } catch (error) {
        if (!(error instanceof ProbeRefusedError)) {
          if (route === 'embeddings' || !(error instanceof ProbeFailedError)) throw error;
          refusal = error;
          break;
        }
        refusal = error;
        if (ROUTE_STATUSES.has(error.status)) break;
        if (!FIELD_STATUSES.has(error.status)) throw error;
      }
    }
  }
  throw refusal ?? new ProbeFailedError('the engine serves none of the routes that can be measured');
}

function listDialects(link: EngineLink, route: Dialect['route']): readonly Dialect[] {
  if (route === 'embeddings') return [{ route, lengthFields: [], streamOptions: false }];
  const withOptions = link.acceptsStreamOptions ? [true, false] : [false];
  return withOptions.flatMap((streamOptions) =>
    LENGTH_FIELDS.map((lengthFields): Dialect => ({ route, lengthFields, streamOptions })),
  );
}
