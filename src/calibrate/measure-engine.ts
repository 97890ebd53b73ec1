// The plan of a calibration: which measurements, in which order, for how long; everything it saw as rows for the fit.
import { setTimeout as sleep } from 'node:timers/promises';
import type { CalibrationRandom } from './seeded-random.ts';
import { type EngineLink, ProbeRefusedError } from './engine-link.ts';
import { describeDecode, describePrefill, type Observation } from './observation.ts';
import { readMedian } from './order-statistics.ts';
import type { DecodeTiming, PrefillTiming, ProbeBench } from './probe-bench.ts';
import type { SteadinessSamples } from './steadiness.ts';

export interface MeasurePlan {
  readonly link: EngineLink;
  readonly bench: ProbeBench;
  /** Embeddings: prompts only. */
  readonly decodes: boolean;
  /** When the calibration began, on the link's clock, and how long it may take. */
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly random: CalibrationRandom;
  /** `share` 0 … 1 of the time that has passed. */
  readonly onProgress: (share: number, text: string) => void;
}

export interface Measurements {
  readonly observations: readonly Observation[];
  readonly chunkTokens: number | null;
  readonly longestPromptTokens: number;
  readonly tokensPerEvent: number;
  /** Most sequences that really ran side by side. */
  readonly batchMax: number;
}

/** Lengths of prompts, well away from the powers of two where the number of chunks would be in doubt; how often each per round. */
const PREFILL_LENGTHS: readonly (readonly [tokens: number, repeats: number])[] = [
  [100, 2],
  [400, 2],
  [900, 3],
  [1800, 3],
  [3600, 2],
  [7200, 2],
  [14_000, 1],
];
const BATCHES = [1, 8, 32] as const;
/** With at least this much time one more, where the cost per sequence shows best. */
const LARGE_BATCH = { batch: 64, durationMs: 45_000 };
const SHORT_PROMPT_TOKENS = 100;
/** Beside a companion stream, to see how prompts are cut. */
const CHUNK_PROMPT_TOKENS = 7200;
const LONG_BATCH = 8;
const LONG_LENGTHS = [7200, 3600, 1800, 900] as const;
const TINY = { probes: 48, promptTokens: 16, outputTokens: 96, streams: 2 };
const STEPS = { min: 40, max: 256 };
/** Parts of the whole time that one long prompt, the long batch's prompts and one decode window may take. */
const LONG_PROMPT_SHARE = 1 / 12;
const LONG_BATCH_SHARE = 1 / 5;
const WINDOW_SHARE = 1 / 16;
const WINDOW_MS_MAX = 2500;
/** Statuses by which engines refuse a prompt beyond their context. */
const TOO_LONG_STATUSES = new Set([400, 413, 422]);

/** Before the plan: how steady the engine answers. Decides whether there is any point in going on. */
export async function measureSteadiness(plan: MeasurePlan): Promise<SteadinessSamples> {
  const { bench, random, decodes } = plan;
  plan.onProgress(0, 'is it idle?');
  // The first requests pay for connections and compilation.
  for (const promptTokens of [TINY.promptTokens, 200, 200]) await bench.timePrefill(promptTokens);
  const gapsMs: (readonly number[])[] = [];
  for (let stream = decodes ? 0 : TINY.streams; stream < TINY.streams; stream += 1)
    gapsMs.push(...(await timeAlone(bench, TINY.outputTokens)).gapsMs);
  const stepMs = decodes ? readMedian(gapsMs.flat()) : 10;
  const firstTokenMs: number[] = [];
  for (let probe = 0; probe < TINY.probes; probe += 1) {
    // Without a random pause each request would meet a busy engine at the same point of its iteration.
    await sleep(2 * stepMs * random.uniform());
    firstTokenMs.push((await bench.timePrefill(TINY.promptTokens)).firstTokenMs);
  }
  return { firstTokenMs, gapsMs };
}

function timeAlone(bench: ProbeBench, outputTokens: number): Promise<DecodeTiming> {
  return bench.timeDecode({ batch: 1, promptTokens: TINY.promptTokens, outputTokens });
}

/** The state of a running measurement. */
class Measurement {
  readonly prefills: (PrefillTiming & { readonly cell: string })[] = [];
  readonly decodes: Observation[] = [];
  readonly #plan: MeasurePlan;
  /** Longest prompt this engine takes, as far as is known. */
  promptLimit = Number.POSITIVE_INFINITY;
  tokensPerEvent = 1;
  batchMax = 0;
  #stepMs = 10;

  constructor(plan: MeasurePlan) {
    this.#plan = plan;
  }

  get elapsedMs(): number {
    return this.#plan.link.clock.monotonicMs() - this.#plan.startedAtMs;
  }

  say(text: string): void {
    this.#plan.onProgress(Math.min(1, this.elapsedMs / this.#plan.durationMs), text);
  }

  /** Longest prompt measured so far, tokens. */
  get longestPrompt(): number {
    return Math.max(0, ...this.prefills.map(({ computedTokens }) => computedTokens));
  }

  /** From the prompts measured so far: what such a prompt takes, ms; longer ones in proportion and a quarter more. */
  predictPrefillMs(tokens: number): number {
    const longest = this.prefills.toSorted((left, right) => right.computedTokens - left.computedTokens)[0];
    return longest === undefined ? 0 : (longest.firstTokenMs * 1.25 * tokens) / longest.computedTokens;
  }

  async prefill(tokens: number): Promise<void> {
    if (tokens > this.promptLimit) return;
    if (this.predictPrefillMs(tokens) > this.#plan.durationMs * LONG_PROMPT_SHARE) return;
    this.say(`prompts of ${tokens} tokens`);
    try {
      this.prefills.push({ ...(await this.#plan.bench.timePrefill(tokens)), cell: `prefill ${tokens}` });
    } catch (error) {
      if (!(error instanceof ProbeRefusedError) || !TOO_LONG_STATUSES.has(error.status) || tokens <= TINY.promptTokens)
        throw error;
      this.promptLimit = tokens / 2;
      await this.prefill(this.promptLimit);
    }
  }

  async decode(cell: { readonly batch: number; readonly promptTokens: number; readonly lead: number }): Promise<void> {
    const { batch, promptTokens, lead } = cell;
    if (promptTokens > this.promptLimit) return;
    this.say(`${batch} stream${batch === 1 ? '' : 's'} of ${promptTokens} tokens`);
    const windowMs = Math.min(WINDOW_MS_MAX, this.#plan.durationMs * WINDOW_SHARE);
    const steps = Math.round(Math.min(Math.max(windowMs / this.#stepMs, STEPS.min), STEPS.max));
    const timing = await this.#plan.bench.timeDecode({ batch, promptTokens, outputTokens: steps + lead });
    this.tokensPerEvent = Math.max(this.tokensPerEvent, timing.tokensPerEvent);
    for (const segment of timing.segments) {
      if (segment.batch === 1) this.#stepMs = segment.stepMs;
      this.batchMax = Math.max(this.batchMax, segment.batch);
      this.decodes.push({
        phase: 'decode',
        cell: `decode ${segment.batch} × ${promptTokens}`,
        factors: describeDecode(segment.batch, segment.contextTokens),
        measuredMs: segment.stepMs,
      });
    }
  }

  /** The longest prompts that eight streams can have within the time. */
  chooseLongPrompt(): number | undefined {
    const limitMs = this.#plan.durationMs * LONG_BATCH_SHARE;
    return LONG_LENGTHS.find(
      (tokens) => tokens <= this.promptLimit && LONG_BATCH * this.predictPrefillMs(tokens) <= limitMs,
    );
  }
}

type Step = () => Promise<void>;

/** Measures at least one round of everything, then more while the time lasts. Rejects where the engine fails a request. */
export async function measureEngine(plan: MeasurePlan): Promise<Measurements> {
  const run = new Measurement(plan);
  for (const [tokens] of PREFILL_LENGTHS) await run.prefill(tokens);
  const chunkTokens = plan.decodes ? await findChunks(plan, run) : null;
  const steps = listSteps(plan, run, chunkTokens);
  const costMs = new Map<Step, number>();
  for (let round = 0; round === 0 || run.elapsedMs < plan.durationMs; round += 1) {
    let ran = 0;
    for (const step of steps) {
      const expectedMs = costMs.get(step) ?? 0;
      if (round > 0 && run.elapsedMs + expectedMs > plan.durationMs) continue;
      const fromMs = run.elapsedMs;
      await step();
      costMs.set(step, run.elapsedMs - fromMs);
      ran += 1;
    }
    if (ran === 0) break;
  }
  return {
    observations: [...run.prefills.map((timing) => observePrefill(timing, chunkTokens)), ...run.decodes],
    chunkTokens,
    longestPromptTokens: run.longestPrompt,
    tokensPerEvent: run.tokensPerEvent,
    batchMax: run.batchMax,
  };
}

function observePrefill(timing: PrefillTiming & { readonly cell: string }, chunkTokens: number | null): Observation {
  return {
    phase: 'prefill',
    cell: timing.cell,
    factors: describePrefill({ ...timing, chunkTokens }),
    measuredMs: timing.firstTokenMs,
  };
}

function listSteps(plan: MeasurePlan, run: Measurement, chunkTokens: number | null): readonly Step[] {
  const prefills = PREFILL_LENGTHS.map(([tokens, repeats]): Step => async () => {
    for (let repeat = 0; repeat < repeats; repeat += 1) await run.prefill(tokens);
  });
  if (!plan.decodes) return prefills;
  const batches = plan.durationMs >= LARGE_BATCH.durationMs ? [...BATCHES, LARGE_BATCH.batch] : BATCHES;
  const short = (batch: number): Step => {
    // Streams begin one after the other as their prompts are computed; none may end before the last has begun.
    const lead = 4 + Math.ceil((batch * SHORT_PROMPT_TOKENS) / (chunkTokens ?? 2048)) + Math.ceil(batch / 4);
    return () => run.decode({ batch, promptTokens: SHORT_PROMPT_TOKENS, lead });
  };
  const long: Step = async () => {
    const promptTokens = run.chooseLongPrompt();
    if (promptTokens === undefined) return;
    const chunks = chunkTokens === null ? 1 : Math.ceil(promptTokens / chunkTokens) + 1;
    await run.decode({ batch: LONG_BATCH, promptTokens, lead: 8 + LONG_BATCH * chunks });
  };
  return [short(BATCHES[0]), ...batches.map(short), long, ...prefills];
}

/** The median of three looks. */
async function findChunks(plan: MeasurePlan, run: Measurement): Promise<number | null> {
  run.say('how prompts are cut');
  const tokens = Math.min(run.longestPrompt, CHUNK_PROMPT_TOKENS);
  const look = async (): Promise<number> => (await plan.bench.timeChunks(tokens)) ?? Number.POSITIVE_INFINITY;
  const found = [await look(), await look(), await look()];
  const median = readMedian(found);
  return Number.isFinite(median) ? median : null;
}
