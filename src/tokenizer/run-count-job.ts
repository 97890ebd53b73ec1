// One job with one tokenizer, the same on the event loop and in the thread.
import type { CountJob } from './count-job.ts';
import { countPrompt, countTexts } from './count-prompt.ts';
import type { ModelTokenizer } from './model-tokenizer.ts';

/** Tokens, or null where the job cannot be counted. Never throws. */
export function runCountJob(tokenizer: ModelTokenizer, job: CountJob): number | null {
  return job.kind === 'texts'
    ? countTexts(tokenizer, job.texts)
    : countPrompt(tokenizer, parseJson(job.json), job.shape);
}

function parseJson(json: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(json));
  } catch {
    // The parser's message quotes the body, which must reach nobody.
    return undefined;
  }
}
