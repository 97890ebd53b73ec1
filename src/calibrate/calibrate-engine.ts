// A calibration from start to verdict: is the engine idle, measure, fit, judge. Prints nothing and writes nothing.
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { detectDialect } from './detect-dialect.ts';
import { type Dialect, type EngineLink } from './engine-link.ts';
import { type EngineLoad, readDrainedActivity, readEngineLoad } from './engine-load.ts';
import { fitProfile, type ProfileFit } from './fit-profile.ts';
import { judgeFit, PROFILE_NAMES } from './judge-fit.ts';
import { measureEngine, type MeasurePlan, type Measurements, measureSteadiness } from './measure-engine.ts';
import { ProbeBench } from './probe-bench.ts';
import { PromptWriter } from './prompt-text.ts';
import { createCalibrationRandom } from './seeded-random.ts';
import { findUnsteadiness } from './steadiness.ts';

export interface CalibrationRequest {
  readonly link: EngineLink;
  /** What is believed of this GPU and model before. */
  readonly prior: EngineProfile;
  readonly durationMs: number;
  /** Of pauses and bootstrap. Prompts differ from run to run all the same: `nonce` is in them. */
  readonly seed: number;
  /** Text no other run uses. */
  readonly nonce: string;
  /** Go on where there are reasons against it. */
  readonly force: boolean;
  readonly onProgress: (share: number, text: string) => void;
}

/** What came out. `fit` is absent where there were reasons not even to measure. */
export interface Calibration {
  readonly route: Dialect['route'];
  readonly reasons: readonly string[];
  readonly notes: readonly string[];
  readonly result?: {
    readonly fit: ProfileFit;
    readonly measured: Measurements;
    /** Rounded to what the measurement supports; ms. */
    readonly profile: EngineProfile;
  };
}

const BOOTSTRAP_DRAWS = 300;
/** What a request costs outside the engine's iterations, before anything is known: attribution-and-finops.md §2.2. */
const OVERHEAD_PRIOR_MS = 8;
/** Looks at the gauges before anything is sent: requests may come and go. */
const LOOKS = { count: 4, everyMs: 150 };
/** Looks at how steadily it answers before it is called busy. */
const STEADINESS_LOOKS = 3;
/** Prompt tokens of others that may go unnoticed: a health probe's, or a difference of counting. */
const FOREIGN_TOKENS = { share: 0.03, min: 64 };

/** Rejects with ProbeRefusedError or ProbeFailedError where the engine does not answer as it must. */
export async function calibrateEngine(request: CalibrationRequest): Promise<Calibration> {
  const { link, force } = request;
  const startedAtMs = link.clock.monotonicMs();
  const busy = await findOthers(link);
  const writer = new PromptWriter(`${request.seed} ${request.nonce}`);
  // Nothing is sent to an engine that serves others unless the user insists.
  if (busy.length > 0 && !force) return { route: 'completions', reasons: busy, notes: [] };
  const dialect = await detectDialect(link, writer);
  const base = await readEngineLoad(link);
  const bench = new ProbeBench(link, dialect, writer);
  const plan = {
    link,
    bench,
    decodes: dialect.route !== 'embeddings',
    startedAtMs,
    durationMs: request.durationMs,
    random: createCalibrationRandom(request.seed),
    onProgress: request.onProgress,
  };
  const unsteady = await findLastingUnsteadiness(plan);
  // Where the engine itself counts what it serves, that is the better witness, and it is heard again at the end.
  const reasons = [...busy, ...(base.promptTokens === null ? unsteady : [])];
  if (reasons.length > 0 && !force) return { route: dialect.route, reasons, notes: [] };
  const measured = await measureEngine(plan);
  reasons.push(...findForeignTokens(base, await readEngineLoad(link), bench.sentPromptTokens));
  const fit = fitProfile({
    observations: measured.observations,
    prior: request.prior,
    overheadPriorMs: OVERHEAD_PRIOR_MS,
    seed: request.seed,
    draws: BOOTSTRAP_DRAWS,
  });
  const verdict = judgeFit(fit, measured, plan.decodes);
  return {
    route: dialect.route,
    reasons: [...reasons, ...verdict.reasons],
    notes: base.promptTokens === null ? verdict.notes : [...unsteady, ...verdict.notes],
    result: { fit, measured, profile: roundProfile(fit) },
  };
}

/** A hiccup of this machine or the network passes; others' work is there at every look. */
async function findLastingUnsteadiness(plan: MeasurePlan): Promise<readonly string[]> {
  let signs: readonly string[] = [];
  for (let look = 0; look < STEADINESS_LOOKS; look += 1) {
    signs = findUnsteadiness(await measureSteadiness(plan));
    if (signs.length === 0) break;
  }
  return signs;
}

async function findOthers(link: EngineLink): Promise<readonly string[]> {
  for (let look = 0; look < LOOKS.count; look += 1) {
    if (look > 0) await sleep(LOOKS.everyMs);
    const { requests } = await readEngineLoad(link);
    if (requests === null) break;
    if (requests > 0) return [`the engine is busy: its metrics show ${requests} requests of others running or waiting`];
  }
  if ((await readDrainedActivity(link)) === true)
    return ['the engine is busy: its iteration statistics show requests of others'];
  return [];
}

function findForeignTokens(before: EngineLoad, after: EngineLoad, sentTokens: number): readonly string[] {
  if (before.promptTokens === null || after.promptTokens === null) return [];
  const foreign = after.promptTokens - before.promptTokens - sentTokens;
  if (foreign <= Math.max(FOREIGN_TOKENS.min, FOREIGN_TOKENS.share * sentTokens)) return [];
  return [
    `the engine served others meanwhile: its metrics show ${Math.round(foreign)} prompt tokens that are not ours`,
  ];
}

/** Four significant digits: more than was measured, less than would pretend. */
function roundProfile(fit: ProfileFit): EngineProfile {
  return Object.fromEntries(
    PROFILE_NAMES.map((name) => [name, Number(fit.terms[name].value.toPrecision(4))]),
  ) as unknown as EngineProfile;
}
