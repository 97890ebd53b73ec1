// Lives here: a request on its way into the engine, whichever protocol it came by: what its choices will say, its entry in the book of
// truth, its sequences. Not here: what is sent of it (answer-stream.ts, answer-whole.ts, grpc/).
import type { AnswerSink } from './answer-plan.ts';
import { createChoiceScript } from './choice-script.ts';
import type { ChoiceScript } from './choice-script.ts';
import { isPooling } from './inference-request.ts';
import type { InferenceRequest } from './inference-request.ts';
import { readEpochMs } from './real-time-loop.ts';
import type { Generation, SimulatedEngine } from './simulated-engine.ts';

/** What the choices of a request will say, prompt by prompt; `tokens` pins their length, `defaultMaxTokens` cuts what sets no limit. */
export function createScripts(
  request: InferenceRequest,
  options: {
    readonly seed: number;
    /** Tokens of a prompt and its answer together. */
    readonly contextTokens: number;
    readonly tokens?: number | undefined;
    readonly defaultMaxTokens?: number | undefined;
  },
): ChoiceScript[] {
  const { seed, contextTokens, ...limits } = options;
  return request.prompts.flatMap((prompt) => {
    const room = Math.max(1, contextTokens - prompt.tokens);
    return Array.from({ length: request.choices }, (_, choiceIndex) =>
      createChoiceScript(request, { promptFingerprint: prompt.fingerprint, choiceIndex, seed }, { ...limits, room }),
    );
  });
}

/** A request as the engine gets it. */
export interface GenerationPlan {
  readonly request: InferenceRequest;
  readonly scripts: readonly ChoiceScript[];
  /** Id of the answer. */
  readonly id: string | null;
  /** `x-request-id` of the request. */
  readonly requestId: string | null;
}

/** A request in the engine. */
export interface RunningGeneration {
  readonly generation: Generation;
  /** Whether all its sequences have their tokens. */
  isComplete(): boolean;
}

/**
 * Queues the sequences of a request. The sink is made only when the engine has taken them, and hears of every token. Throws
 * SequenceRefusedError.
 */
export function startGeneration(
  engine: SimulatedEngine,
  plan: GenerationPlan,
  createSink: () => AnswerSink,
): RunningGeneration {
  const { request, scripts, id, requestId } = plan;
  const promptTokens = request.prompts.reduce((sum, prompt) => sum + prompt.tokens, 0);
  const entry = engine.truthBook.open({ id, requestId, promptTokens, arrivedAtMs: readEpochMs() });
  let sink: AnswerSink | undefined;
  let ended = 0;
  const generation = engine.generate({
    entry,
    sequences: scripts.map((script, index) => {
      const prompt = request.prompts[Math.floor(index / request.choices)];
      return {
        promptTokens: prompt?.tokens ?? 0,
        promptBlocks: prompt?.blocks ?? [],
        outputTokens: isPooling(request.route) ? 0 : script.tokens,
        timingId: findTimingId(plan, index),
      };
    }),
    onToken: (sequence, index) => sink?.onToken(sequence, index),
    onFinish: (sequence) => {
      ended += 1;
      if (ended === scripts.length) engine.log.requestsSucceeded += 1;
      sink?.onFinish(sequence);
    },
  });
  sink = createSink();
  sink.generation = generation;
  return { generation, isComplete: () => ended === scripts.length };
}

/**
 * trtllm-serve names an entry by the number in the answer's id, one for each prompt. It writes none of further choices, of prompts without
 * output, and of Responses and Messages, whose ids hold no such number.
 */
function findTimingId({ request, id }: GenerationPlan, index: number): number | null {
  const engineId = /^(?:chat)?cmpl-(\d+)$/.exec(id ?? '')?.[1];
  if (engineId === undefined || isPooling(request.route) || index % request.choices !== 0) return null;
  return Number(engineId) + index / request.choices;
}
