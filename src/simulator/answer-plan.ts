// Lives here: what the streaming and the whole answer have in common: frames, scripts, usage, tool-call ids.
// Not here: how either is sent (answer-stream.ts, answer-whole.ts).
import type { ServerResponse } from 'node:http';
import type { ChoiceScript } from './choice-script.ts';
import type { FaultSwitches } from './fault-switches.ts';
import type { AnswerFrame, Flavor, TokenUsage, WholeChoice } from './flavors/flavor.ts';
import type { InferenceRequest } from './inference-request.ts';
import type { Generation } from './simulated-engine.ts';

/** An answer being made. Choice index = prompt index × choices + choice. */
export interface AnswerPlan {
  readonly flavor: Flavor;
  readonly request: InferenceRequest;
  /** One per prompt where each has its own id, else the same for all. */
  readonly frames: readonly AnswerFrame[];
  readonly scripts: readonly ChoiceScript[];
  readonly usage: { readonly atEnd: boolean; readonly continuous: boolean };
  readonly faults: FaultSwitches;
  readonly headers: Readonly<Record<string, string>>;
  readonly res: ServerResponse;
  readonly toolCallId: string;
}

/** Something that is told of the tokens of an answer. Set `generation` before the first call. */
export interface AnswerSink {
  generation: Generation | undefined;
  onToken(choiceIndex: number, index: number): void;
  onFinish(choiceIndex: number): void;
}

/** Frame of the sub-stream that a choice belongs to. */
export function frameOf(plan: AnswerPlan, choiceIndex: number): AnswerFrame {
  const frame = plan.frames[Math.floor(choiceIndex / plan.request.choices)];
  if (frame === undefined) throw new RangeError(`no frame for choice ${choiceIndex}`);
  return frame;
}

/** What the choices of the answer say when they have ended. */
export function describeChoices(plan: AnswerPlan): WholeChoice[] {
  const { echo, prompts } = plan.request;
  const echoed = echo === null ? null : { text: echo, tokens: prompts[0]?.tokens ?? 0 };
  return plan.scripts.map((script, index): WholeChoice => {
    const tokens = Array.from({ length: script.tokens }, (_, token) => script.textAt(token));
    return {
      index,
      text: tokens.join(''),
      tokens,
      toolCall: script.toolName === null ? null : { id: `${plan.toolCallId}${index}`, name: script.toolName },
      endReason: script.endReason,
      logprobs: plan.request.logprobs,
      echoed,
    };
  });
}

/**
 * Usage of the given prompts: prompt tokens once each, completion tokens over all their choices; zeros when the fault
 * says so. Call it when the prompts' choices have ended.
 */
export function sumUsage(plan: AnswerPlan, generation: Generation | undefined, prompts: readonly number[]): TokenUsage {
  const sum = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
  if (plan.faults.usageZero === true) return sum;
  const { choices } = plan.request;
  for (const prompt of prompts) {
    sum.promptTokens += plan.request.prompts[prompt]?.tokens ?? 0;
    sum.cachedTokens += generation?.cachedTokensOf(prompt * choices) ?? 0;
    for (let choice = 0; choice < choices; choice += 1) {
      sum.completionTokens += plan.scripts[prompt * choices + choice]?.tokens ?? 0;
    }
  }
  return sum;
}
