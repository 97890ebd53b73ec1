// Tokens that an engine does not report, counted with its model's own tokenizer: what is counted when, for one attempt. How texts are
// counted is the tokenizer's, which count a record gets resolve-tokens.ts's.
import type { DeploymentConfig } from '#config/config.ts';
import type { TokenCounter } from '#tokenizer/count-tokens.ts';
import type { AnswerTexts } from './answer-text.ts';
import type { MeteredRoute } from './metered-routes.ts';

/** Counts of the model's tokenizer; null where a part could not be counted. */
export interface CountedTokens {
  readonly prompt: number | null;
  readonly output: number | null;
  readonly reasoning: number | null;
}

/** How an attempt ended, as far as counting is concerned. */
export interface AttemptFindings {
  /** The engine said how many tokens it were. */
  readonly isReported: boolean;
  /** The engine answered, and did not refuse. */
  readonly isAnswered: boolean;
  /** The answer came to its end. */
  readonly isWhole: boolean;
  /** Null where the texts are not known. */
  readonly texts: AnswerTexts | null;
}

/** The deployments' tokenizers, and what was learned of their engines. */
export class AnswerCounter {
  readonly #counter: TokenCounter;
  /** Deployments, streams apart, whose last whole answer said no usage. */
  readonly #silent = new Set<string>();

  constructor(counter: TokenCounter) {
    this.#counter = counter;
  }

  /** Null where nothing is to be counted: no tokenizer, or work that is metered by duration. */
  open(attempt: {
    readonly deployment: DeploymentConfig;
    readonly route: MeteredRoute;
    readonly body: Buffer;
    readonly stream: boolean;
  }): AttemptCount | null {
    const { deployment, route, body, stream } = attempt;
    if ((route.work ?? deployment.work) === 'duration' || !this.#counter.has(deployment.name)) return null;
    const key = `${stream ? 'stream' : 'whole'} ${deployment.name}`;
    return new AttemptCount({
      counter: this.#counter,
      silent: this.#silent,
      key,
      deployment: deployment.name,
      route,
      body,
    });
  }

  /** The tokenizers of another configuration; what was learned is learned again. */
  reload(deployments: readonly DeploymentConfig[]): void {
    this.#silent.clear();
    this.#counter.reload(readTokenizers(deployments));
  }

  /** Counts that are waited for become null, so that their records are written now. */
  close(): Promise<void> {
    return this.#counter.close();
  }
}

/** Deployment name → path of its tokenizer, where it has one. */
export function readTokenizers(deployments: readonly DeploymentConfig[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    deployments.flatMap(({ name, tokenizer }) => (tokenizer === undefined ? [] : [[name, tokenizer] as const])),
  );
}

interface AttemptCountOptions {
  readonly counter: TokenCounter;
  readonly silent: Set<string>;
  readonly key: string;
  readonly deployment: string;
  readonly route: MeteredRoute;
  readonly body: Buffer;
}

/** What is counted for one attempt. */
export class AttemptCount {
  /** The engine is known to say no usage, so the text of its stream is worth keeping. */
  readonly expectsSilence: boolean;
  readonly #options: AttemptCountOptions;
  #prompt: ReturnType<TokenCounter['countPrompt']> | undefined;

  constructor(options: AttemptCountOptions) {
    this.#options = options;
    this.expectsSilence = options.silent.has(options.key);
  }

  /** The request was sent: where no usage is expected its prompt is counted while the engine works, so that nobody waits for it at the end. */
  begin(): void {
    if (this.expectsSilence) this.#prompt = this.#countPrompt();
  }

  /**
   * The counts of an attempt that ended, at once or a little later; null where the engine's own word is better or nothing was answered.
   * Remembers whether the engine reports. Never rejects.
   */
  finish(findings: AttemptFindings): CountedTokens | null | Promise<CountedTokens> {
    const { silent, key, counter, deployment, route } = this.#options;
    const { isReported, isAnswered, isWhole, texts } = findings;
    if (isReported) silent.delete(key);
    else if (isAnswered && isWhole) silent.add(key);
    if (isReported || !isAnswered) return null;
    const prompt = this.#prompt ?? this.#countPrompt();
    if (route.prefillOnly || texts === null) {
      const output = route.prefillOnly ? 0 : null;
      return prompt instanceof Promise
        ? prompt.then((prompt) => ({ prompt, output, reasoning: null }))
        : { prompt, output, reasoning: null };
    }
    const output = counter.countText(deployment, texts.output);
    const reasoning = texts.reasoning.length === 0 ? 0 : counter.countText(deployment, texts.reasoning);
    if (prompt instanceof Promise || output instanceof Promise || reasoning instanceof Promise) {
      return Promise.all([prompt, output, reasoning]).then(([prompt, output, reasoning]) =>
        combine({ prompt, output, reasoning }, texts),
      );
    }
    return combine({ prompt, output, reasoning }, texts);
  }

  #countPrompt(): ReturnType<TokenCounter['countPrompt']> {
    const { counter, deployment, body, route } = this.#options;
    return counter.countPrompt(deployment, body, route.shape);
  }
}

/** Output without its reasoning would be too low: both or none. Reasoning stays null where the answer has none. */
function combine(
  counts: { readonly prompt: number | null; readonly output: number | null; readonly reasoning: number | null },
  texts: AnswerTexts,
): CountedTokens {
  const { prompt, output, reasoning } = counts;
  if (output === null || reasoning === null) return { prompt, output: null, reasoning: null };
  return { prompt, output, reasoning: texts.reasoning.length === 0 ? null : reasoning };
}
