// The single measurements of a calibration: a lone prompt, streams side by side, a prompt beside a companion stream.
// Not here: which are made in which order (measure-engine.ts).
import { type Dialect, type EngineLink, ProbeFailedError } from './engine-link.ts';
import { type DecodeSegment, readDecodeSegments } from './decode-segments.ts';
import { findChunkSize } from './find-chunk-size.ts';
import { readMedian } from './order-statistics.ts';
import type { PromptWriter } from './prompt-text.ts';
import { type Probe, type ProbeAnswer, sendProbe } from './send-probe.ts';

/** A lone prompt. Milliseconds from sending to the first token. */
export interface PrefillTiming {
  readonly computedTokens: number;
  readonly cachedTokens: number;
  readonly firstTokenMs: number;
}

/** Streams side by side: what one step took, and all the gaps (ms) of each. */
export interface DecodeTiming {
  readonly segments: readonly DecodeSegment[];
  readonly gapsMs: readonly (readonly number[])[];
  /** Tokens per event; above 1 the engine bundles or speculates. */
  readonly tokensPerEvent: number;
}

/** Tokens the companion gets before the prompt is sent beside it; after them its answer has room for as many chunks as there may be. */
const COMPANION = { headStart: 16, promptTokens: 48, outputTokens: 72 };

/** Sends requests to one engine and times them. */
export class ProbeBench {
  /** Prompt tokens sent so far, as the engine counted them. */
  sentPromptTokens = 0;
  readonly #link: EngineLink;
  readonly #dialect: Dialect;
  readonly #writer: PromptWriter;

  constructor(link: EngineLink, dialect: Dialect, writer: PromptWriter) {
    this.#link = link;
    this.#dialect = dialect;
    this.#writer = writer;
  }

  /** One prompt of about so many tokens, one token of answer. Rejects with ProbeRefusedError where it is too long. */
  async timePrefill(promptTokens: number): Promise<PrefillTiming> {
    const answer = await this.#send({ promptTokens, outputTokens: 1 });
    const cachedTokens = Math.min(answer.cachedTokens, answer.promptTokens - 1);
    return {
      computedTokens: answer.promptTokens - cachedTokens,
      cachedTokens,
      firstTokenMs: (answer.tokenAtMs[0] ?? 0) - answer.sentAtMs,
    };
  }

  /** `batch` streams at once; each decodes `outputTokens` where the engine can be told so. */
  async timeDecode(cell: {
    readonly batch: number;
    readonly promptTokens: number;
    readonly outputTokens: number;
  }): Promise<DecodeTiming> {
    const answers = await Promise.all(Array.from({ length: cell.batch }, () => this.#send(cell)));
    return {
      segments: readDecodeSegments(
        answers.map((answer) => ({
          promptTokens: answer.promptTokens,
          tokenAtMs: answer.tokenAtMs,
          stepsPerEvent: readStepsPerEvent(answer),
        })),
      ),
      gapsMs: answers.map(({ tokenAtMs }) => readGaps(tokenAtMs)),
      tokensPerEvent: readMedian(answers.map((answer) => readTokensPerEvent(answer) ?? 1)),
    };
  }

  /** Most prompt tokens of one iteration, by a prompt of about so many beside a running stream; null where there is no such limit in sight. */
  async timeChunks(promptTokens: number): Promise<number | null> {
    const tokenAtMs: number[] = [];
    const started = Promise.withResolvers<void>();
    const companion = this.#send({
      promptTokens: COMPANION.promptTokens,
      outputTokens: COMPANION.outputTokens,
      onToken: (atMs) => {
        tokenAtMs.push(atMs);
        if (tokenAtMs.length === COMPANION.headStart) started.resolve();
      },
    });
    // An answer that ends before its head start is no companion.
    companion.then(
      () => started.resolve(),
      (error: unknown) => started.reject(error as Error),
    );
    await started.promise;
    const before = tokenAtMs.length;
    const [prompt] = await Promise.all([this.#send({ promptTokens, outputTokens: 1 }), companion]);
    const firstAtMs = prompt.tokenAtMs[0] ?? 0;
    const from = tokenAtMs.findLastIndex((atMs) => atMs <= prompt.sentAtMs);
    const beside = tokenAtMs.findIndex((atMs) => atMs >= firstAtMs - 1);
    if (before < COMPANION.headStart || from < 1 || beside <= from) return null;
    return findChunkSize({
      promptTokens: prompt.promptTokens - prompt.cachedTokens,
      baseMs: readMedian(readGaps(tokenAtMs.slice(2, COMPANION.headStart))),
      gapsMs: readGaps(tokenAtMs.slice(from, beside + 2)),
    });
  }

  async #send(order: {
    readonly promptTokens: number;
    readonly outputTokens: number;
    readonly onToken?: Probe['onToken'];
  }): Promise<ProbeAnswer & { readonly promptTokens: number; readonly cachedTokens: number }> {
    const text = this.#writer.write(order.promptTokens);
    const { onToken } = order;
    const answer = await sendProbe(this.#link, this.#dialect, {
      text,
      outputTokens: order.outputTokens,
      ...(onToken === undefined ? {} : { onToken }),
    });
    const promptTokens = answer.usage?.promptTokens ?? null;
    if (promptTokens === null || promptTokens === 0)
      throw new ProbeFailedError('the engine reports no usage, so the lengths of prompts are not known');
    this.#writer.learn(text, promptTokens);
    this.sentPromptTokens += promptTokens;
    return { ...answer, promptTokens, cachedTokens: answer.usage?.cachedTokens ?? 0 };
  }
}

function readGaps(instants: readonly number[]): readonly number[] {
  return instants.slice(1).map((atMs, index) => atMs - (instants[index] ?? atMs));
}

function readTokensPerEvent({ usage, tokenAtMs }: ProbeAnswer): number | null {
  const tokens = usage?.completionTokens ?? null;
  return tokens === null || tokenAtMs.length < 8 ? null : tokens / tokenAtMs.length;
}

/** Where events bundle tokens and the engine says that its iterations do not, an event stands for several iterations. */
function readStepsPerEvent(answer: ProbeAnswer): number {
  const perEvent = readTokensPerEvent(answer);
  if (perEvent === null || perEvent < 1.3 || answer.tokensPerIteration === null) return 1;
  return Math.max(1, perEvent / answer.tokensPerIteration);
}
