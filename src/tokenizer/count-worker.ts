// The thread that counts long texts, so that they do not hold up the event loop. Its queue and limits are counting-thread.ts's.
import { parentPort } from 'node:worker_threads';
import type { CountRequest, CountResponse } from './count-job.ts';
import { loadTokenizer } from './load-tokenizer.ts';
import type { ModelTokenizer } from './model-tokenizer.ts';
import { runCountJob } from './run-count-job.ts';
import { TokenizerError } from './tokenizer-error.ts';

/** By path; null for one that cannot be used, which is said once. */
const tokenizers = new Map<string, ModelTokenizer | null>();

function answer(response: CountResponse): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
  parentPort?.postMessage(response);
}

function useTokenizer(path: string): ModelTokenizer | null {
  const known = tokenizers.get(path);
  if (known !== undefined) return known;
  let loaded: ModelTokenizer | null = null;
  try {
    loaded = loadTokenizer(path);
  } catch (err) {
    const problem = err instanceof TokenizerError ? err.message : `tokenizer ${path}: cannot be loaded`;
    answer({ kind: 'unusable', path, problem });
  }
  tokenizers.set(path, loaded);
  return loaded;
}

parentPort?.on('message', (request: CountRequest) => {
  if (request.kind === 'unload') {
    tokenizers.delete(request.path);
    return;
  }
  const tokenizer = useTokenizer(request.path);
  if (request.kind === 'load') return;
  answer({ kind: 'counted', id: request.id, tokens: tokenizer === null ? null : runCountJob(tokenizer, request.job) });
});
