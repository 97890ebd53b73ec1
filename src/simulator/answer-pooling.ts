// Lives here: the answers of routes that compute prompts and generate nothing: embeddings, rerank, score.
// Not here: when they are sent (answer-whole.ts). Shapes: OpenAI's reference; rerank and score as vLLM has them (Jina's words).
import type { AnswerPlan } from './answer-plan.ts';
import type { JsonObject } from './inference-request.ts';
import { createSeededRandom } from './seeded-random.ts';

/** Body of an answer without generation, by the route of the request. */
export function describePooling(plan: AnswerPlan): unknown {
  switch (plan.request.route) {
    case 'rerank':
      return describeRanking(plan);
    case 'score':
      return describeScores(plan);
    default:
      return describeEmbeddings(plan);
  }
}

function describeEmbeddings(plan: AnswerPlan): JsonObject {
  const { request, frames } = plan;
  return {
    id: frames[0]?.id,
    object: 'list',
    created: frames[0]?.created,
    model: frames[0]?.model,
    data: request.prompts.map((prompt, index) => ({
      index,
      object: 'embedding',
      embedding: encodeVector(prompt.fingerprint, request),
    })),
    usage: describeUsage(plan),
  };
}

/** Most relevant first, cut at `top_n`. */
function describeRanking(plan: AnswerPlan): JsonObject {
  const { request, frames } = plan;
  const results = request.documents.map((text, index) => ({
    index,
    document: { text, multi_modal: null },
    relevance_score: drawScore(request.prompts[index]?.fingerprint ?? 0),
  }));
  const ranked = results.toSorted((left, right) => right.relevance_score - left.relevance_score);
  const kept = request.topN > 0 ? ranked.slice(0, request.topN) : ranked;
  return { id: frames[0]?.id, model: frames[0]?.model, usage: describeUsage(plan), results: kept };
}

function describeScores(plan: AnswerPlan): JsonObject {
  const { request, frames } = plan;
  const data = request.prompts.map((prompt, index) => ({
    index,
    object: 'score',
    score: drawScore(prompt.fingerprint),
  }));
  return {
    id: frames[0]?.id,
    object: 'list',
    created: frames[0]?.created,
    model: frames[0]?.model,
    data,
    usage: describeUsage(plan),
  };
}

function describeUsage({ request, faults, usage }: AnswerPlan): JsonObject | null {
  if (!usage.atEnd) return null;
  const tokens = faults.usageZero === true ? 0 : request.prompts.reduce((sum, prompt) => sum + prompt.tokens, 0);
  return { prompt_tokens: tokens, total_tokens: tokens };
}

/** Between 0 and 1, the same for the same pair of texts. */
function drawScore(fingerprint: number): number {
  return createSeededRandom(fingerprint % 0xffffffff).uniform();
}

function encodeVector(
  seed: number,
  { dimensions, base64 }: { readonly dimensions: number; readonly base64: boolean },
): number[] | string {
  const random = createSeededRandom(seed % 0xffffffff);
  const vector = Float32Array.from({ length: dimensions }, () => random.normal());
  return base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector];
}
