// Lives here: an answer sent in one piece when the engine is done, embeddings included, and its faults.
// Not here: the shapes of the flavours (flavors/).
import type { ServerResponse } from 'node:http';
import { frameOf, sumUsage } from './answer-plan.ts';
import type { AnswerPlan, AnswerSink } from './answer-plan.ts';
import type { WholeChoice } from './flavors/flavor.ts';
import { createSeededRandom } from './seeded-random.ts';
import type { Generation } from './simulated-engine.ts';

/** Answers with a JSON body and its length. */
export function sendJson(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(JSON.stringify(body));
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers });
  res.end(bytes);
}

/** Collects an answer and sends it when all its choices have ended. */
export class WholeAnswer implements AnswerSink {
  generation: Generation | undefined;
  readonly #plan: AnswerPlan;
  #unfinished: number;
  #tokens = 0;
  #over = false;

  constructor(plan: AnswerPlan) {
    this.#plan = plan;
    this.#unfinished = plan.scripts.length;
  }

  onToken(): void {
    if (this.#over) return;
    this.#tokens += 1;
    const { faults, res, flavor } = this.#plan;
    if (this.#tokens >= (faults.stallAfter ?? Infinity)) this.#over = true;
    else if (this.#tokens >= (faults.cutAfter ?? Infinity)) {
      this.#over = true;
      res.destroy();
    } else if (this.#tokens >= (faults.errorEventAfter ?? Infinity)) {
      this.#over = true;
      const problem = flavor.problem(500, 'simulated failure of the engine');
      sendJson(res, problem.status, problem.body, this.#plan.headers);
      this.generation?.abort();
    }
  }

  onFinish(): void {
    this.#unfinished -= 1;
    if (this.#unfinished > 0 || this.#over) return;
    const body = this.#plan.request.route === 'embeddings' ? this.#describeEmbeddings() : this.#describeChoices();
    const { res, headers, faults } = this.#plan;
    if (faults.halfChunk !== true) {
      sendJson(res, 200, body, headers);
      return;
    }
    const bytes = Buffer.from(JSON.stringify(body));
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers });
    res.write(bytes.subarray(0, bytes.length / 2), () => res.destroy());
  }

  #describeChoices(): unknown {
    const plan = this.#plan;
    const choices = plan.scripts.map((script, index): WholeChoice => {
      const tokens = Array.from({ length: script.tokens }, (_, token) => script.textAt(token));
      return {
        index,
        text: tokens.join(''),
        tokens,
        toolCall: script.toolName === null ? null : { id: `${plan.toolCallId}${index}`, name: script.toolName },
        endReason: script.endReason,
        logprobs: plan.request.logprobs,
      };
    });
    const usage = plan.usage.atEnd ? sumUsage(plan, this.generation, [...plan.request.prompts.keys()]) : null;
    return plan.flavor.wholeAnswer(frameOf(plan, 0), choices, usage);
  }

  #describeEmbeddings(): unknown {
    const { request, frames, usage, faults } = this.#plan;
    const promptTokens =
      faults.usageZero === true ? 0 : request.prompts.reduce((sum, prompt) => sum + prompt.tokens, 0);
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
      usage: usage.atEnd ? { prompt_tokens: promptTokens, total_tokens: promptTokens } : null,
    };
  }
}

function encodeVector(
  seed: number,
  { dimensions, base64 }: { readonly dimensions: number; readonly base64: boolean },
): number[] | string {
  const random = createSeededRandom(seed % 0xffffffff);
  const vector = Float32Array.from({ length: dimensions }, () => random.normal());
  return base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector];
}
