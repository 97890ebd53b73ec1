// Lives here: a streamed answer: which event is sent when, and the faults a test may ask of it.
// Not here: the bytes of an event (flavors/) and when tokens exist (engine-core.ts).
import { describeChoices, frameOf, sumUsage } from './answer-plan.ts';
import type { AnswerPlan, AnswerSink } from './answer-plan.ts';
import type { TokenPiece, TokenUsage } from './flavors/flavor.ts';
import type { Generation } from './simulated-engine.ts';

// A client that reads nothing is dropped when this much waits for it.
const unsentBytesMax = 8 * 1024 * 1024;

/** Sends an answer as server-sent events, token by token. */
export class StreamingAnswer implements AnswerSink {
  generation: Generation | undefined;
  readonly #plan: AnswerPlan;
  readonly #openChoices: number[];
  readonly #opened = new Set<number>();
  #unfinished: number;
  #tokensSent = 0;
  #silent = false;

  /** Sends the head at once, and the role chunks too if the flavour does so before prefill. */
  constructor(plan: AnswerPlan) {
    this.#plan = plan;
    this.#unfinished = plan.scripts.length;
    this.#openChoices = plan.request.prompts.map(() => plan.request.choices);
    plan.res.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      ...plan.headers,
    });
    plan.res.flushHeaders();
    if (plan.flavor.rolesBeforePrefill) for (const prompt of plan.request.prompts.keys()) this.#openPrompt(prompt);
  }

  onToken(choiceIndex: number, index: number): void {
    if (this.#silent || this.#breakOff()) return;
    const prompt = Math.floor(choiceIndex / this.#plan.request.choices);
    this.#openPrompt(prompt);
    const piece = this.#describePiece(choiceIndex, index);
    const event = this.#plan.flavor.tokenEvent(frameOf(this.#plan, choiceIndex), piece);
    if (this.#plan.faults.halfChunk === true) {
      this.#silent = true;
      this.#plan.res.end(event.slice(0, event.length / 2));
      this.generation?.abort();
      return;
    }
    this.#write(event);
    this.#tokensSent += 1;
    this.#breakOff();
  }

  onFinish(choiceIndex: number): void {
    const { flavor, faults, request, usage } = this.#plan;
    const prompt = Math.floor(choiceIndex / request.choices);
    this.#openChoices[prompt] = (this.#openChoices[prompt] ?? 1) - 1;
    this.#unfinished -= 1;
    if (this.#silent) return;
    if (flavor.endEvents !== undefined) {
      if (this.#unfinished === 0 && faults.noDone !== true) this.#sendEnd(choiceIndex);
    } else if (usage.atEnd && !flavor.usageInLastToken) {
      if (flavor.usagePerPrompt && this.#openChoices[prompt] === 0) this.#sendUsage(choiceIndex, [prompt]);
      if (!flavor.usagePerPrompt && this.#unfinished === 0) this.#sendUsage(choiceIndex, [...request.prompts.keys()]);
    }
    if (this.#unfinished > 0) return;
    this.#plan.res.end(faults.noDone === true ? '' : flavor.terminator);
  }

  #sendUsage(choiceIndex: number, prompts: readonly number[]): void {
    const usage = sumUsage(this.#plan, this.generation, prompts);
    this.#write(this.#plan.flavor.usageEvent(frameOf(this.#plan, choiceIndex), usage));
  }

  #sendEnd(choiceIndex: number): void {
    const { flavor, request, usage } = this.#plan;
    const said = usage.atEnd ? sumUsage(this.#plan, this.generation, [...request.prompts.keys()]) : null;
    this.#write(flavor.endEvents?.(frameOf(this.#plan, choiceIndex), describeChoices(this.#plan), said) ?? '');
  }

  #openPrompt(prompt: number): void {
    if (this.#opened.has(prompt)) return;
    this.#opened.add(prompt);
    const { choices } = this.#plan.request;
    const indices = Array.from({ length: choices }, (_, choice) => prompt * choices + choice);
    const usage = this.#runningUsage(prompt * choices, 0);
    this.#write(this.#plan.flavor.roleEvents(frameOf(this.#plan, prompt * choices), indices, usage));
  }

  #describePiece(choiceIndex: number, index: number): TokenPiece {
    const { scripts, request, flavor, toolCallId, usage } = this.#plan;
    const script = scripts[choiceIndex];
    if (script === undefined) throw new RangeError(`no script for choice ${choiceIndex}`);
    const isLast = index === script.tokens - 1;
    const closesAnswer = isLast && this.#unfinished === 1 && flavor.usageInLastToken && usage.atEnd;
    return {
      choiceIndex,
      index,
      text: script.textAt(index),
      toolCall:
        script.toolName === null
          ? null
          : { id: `${toolCallId}${choiceIndex}`, name: script.toolName, opens: index === 0 },
      endReason: isLast ? script.endReason : null,
      logprobs: request.logprobs,
      runningUsage: closesAnswer
        ? sumUsage(this.#plan, this.generation, [...request.prompts.keys()])
        : this.#runningUsage(choiceIndex, index + 1),
    };
  }

  #runningUsage(choiceIndex: number, completionTokens: number): TokenUsage | null {
    const { usage, request, faults } = this.#plan;
    if (!usage.continuous) return null;
    if (faults.usageZero === true) return { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    return {
      promptTokens: request.prompts[Math.floor(choiceIndex / request.choices)]?.tokens ?? 0,
      cachedTokens: this.generation?.cachedTokensOf(choiceIndex) ?? 0,
      completionTokens,
    };
  }

  /** Carries out the fault that is due after the tokens sent so far; true if the stream is over for the client. */
  #breakOff(): boolean {
    const { faults, res, flavor } = this.#plan;
    if (this.#tokensSent >= (faults.stallAfter ?? Infinity)) this.#silent = true;
    else if (this.#tokensSent >= (faults.cutAfter ?? Infinity)) {
      this.#silent = true;
      // Node hands what was written to the socket at the end of this tick; the tokens asked for still arrive.
      setImmediate(() => res.destroy());
    } else if (this.#tokensSent >= (faults.errorEventAfter ?? Infinity)) {
      this.#silent = true;
      res.end(flavor.errorEvent('simulated failure of the engine', this.#tokensSent) + flavor.terminator);
      this.generation?.abort();
    }
    return this.#silent;
  }

  #write(bytes: string): void {
    const { res } = this.#plan;
    if (bytes === '' || res.destroyed) return;
    res.write(bytes);
    if (res.writableLength > unsentBytesMax) res.destroy();
  }
}
