// Lives here: the answer to one gRPC inference request, as one reply or one reply per token, and the faults a test may ask of it.
// Not here: the bytes of a reply (kserve-messages.ts) and calls (infer-calls.ts).
import type { AnswerSink } from '../answer-plan.ts';
import type { ChoiceScript } from '../choice-script.ts';
import type { FaultSwitches } from '../fault-switches.ts';
import type { Generation } from '../simulated-engine.ts';
import type { InferReply } from './kserve-messages.ts';

/** Where an answer goes. */
export interface ReplyListener {
  reply(reply: InferReply): void;
  /** The model failed: told in the call's own way. */
  fail(message: string): void;
  /** The connection breaks. */
  cut(): void;
  /** Nothing more comes. */
  end(): void;
}

export interface InferAnswerOptions {
  readonly modelName: string;
  readonly id: string;
  readonly script: ChoiceScript;
  readonly promptTokens: number;
  /** The prompt that a whole reply repeats and counts as its own; null where it does not. */
  readonly echo: string | null;
  /** Whether counts were asked for and can be told. */
  readonly counts: boolean;
  /** One reply per token. */
  readonly streams: boolean;
  readonly faults: FaultSwitches;
  readonly listener: ReplyListener;
}

/** Makes the replies of one request. */
export class InferAnswer implements AnswerSink {
  generation: Generation | undefined;
  readonly #options: InferAnswerOptions;
  #tokens = 0;
  #isOver = false;

  constructor(options: InferAnswerOptions) {
    this.#options = options;
  }

  onToken(_choiceIndex: number, index: number): void {
    if (this.#isOver || this.#breakOff()) return;
    const { script, streams, listener } = this.#options;
    this.#tokens += 1;
    const isFinal = index === script.tokens - 1;
    if (streams) listener.reply(this.#describe(script.textAt(index), 1, isFinal));
    this.#breakOff();
  }

  onFinish(): void {
    if (this.#isOver) return;
    const { script, streams, listener, echo, promptTokens } = this.#options;
    if (!streams) {
      const text = Array.from({ length: script.tokens }, (_, index) => script.textAt(index)).join('');
      const echoedTokens = echo === null ? 0 : promptTokens;
      listener.reply(this.#describe(`${echo ?? ''}${text}`, script.tokens + echoedTokens, true));
    }
    this.#isOver = true;
    listener.end();
  }

  #describe(text: string, outputTokens: number, isFinal: boolean): InferReply {
    const { modelName, id, counts, promptTokens, faults } = this.#options;
    const said = faults.usageZero === true ? { input: 0, output: 0 } : { input: promptTokens, output: outputTokens };
    return { modelName, id, text, isFinal, counts: counts ? said : null };
  }

  /** Carries out the fault that is due after the tokens so far; true if nothing more is sent. */
  #breakOff(): boolean {
    const { faults, listener } = this.#options;
    if (this.#tokens >= (faults.stallAfter ?? Infinity)) this.#isOver = true;
    else if (this.#tokens >= (faults.cutAfter ?? Infinity)) {
      this.#isOver = true;
      listener.cut();
    } else if (this.#tokens >= (faults.errorEventAfter ?? Infinity)) {
      this.#isOver = true;
      this.generation?.abort();
      listener.fail('simulated failure of the engine');
      listener.end();
    }
    return this.#isOver;
  }
}
