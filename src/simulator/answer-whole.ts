// Lives here: an answer sent in one piece when the engine is done, and its faults.
// Not here: the shapes of the flavours (flavors/), embeddings and scores (answer-pooling.ts).
import type { ServerResponse } from 'node:http';
import { describeChoices, frameOf, sumUsage } from './answer-plan.ts';
import type { AnswerPlan, AnswerSink } from './answer-plan.ts';
import { describePooling } from './answer-pooling.ts';
import { isPooling } from './inference-request.ts';
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
    const body = this.#describeAnswer();
    const { res, headers, faults } = this.#plan;
    if (faults.halfChunk !== true) {
      sendJson(res, 200, body, headers);
      return;
    }
    const bytes = Buffer.from(JSON.stringify(body));
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers });
    res.write(bytes.subarray(0, bytes.length / 2), () => res.destroy());
  }

  #describeAnswer(): unknown {
    const plan = this.#plan;
    if (isPooling(plan.request.route)) return describePooling(plan);
    const usage = plan.usage.atEnd ? sumUsage(plan, this.generation, [...plan.request.prompts.keys()]) : null;
    return plan.flavor.wholeAnswer(frameOf(plan, 0), describeChoices(plan), usage);
  }
}
