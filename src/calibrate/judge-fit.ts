// Whether a fit may be used to charge people by: reasons against it, and notes about what it does not know.
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { ProfileFit } from './fit-profile.ts';
import type { Measurements } from './measure-engine.ts';

/** Reasons refuse the profile; notes come with it. One sentence each. */
export interface Verdict {
  readonly reasons: readonly string[];
  readonly notes: readonly string[];
}

/** Below it a phase does not follow the work model (attribution-and-finops.md §2.4). */
const R_SQUARED_MIN = 0.9;
/** Misses of the design points beyond this make unfair charges. */
const RESIDUAL_MAX = 0.15;
/** The config's own bound of a fixed iteration time is a minute; seconds are absurd already. */
const ITERATION_MS_MAX = 5000;
const BATCH_WANTED = 8;
/** The shortest prompts of the plan have more: where none was computed, nothing of prompts was measured. */
const COMPUTED_TOKENS_MIN = 64;

const NAMES: Readonly<Record<keyof EngineProfile, string>> = {
  iterationMs: 'the fixed time of an iteration',
  prefillTokenMs: 'the time per prompt token',
  prefillContextMs: 'the time per prompt token and token of context',
  decodeStepMs: 'the time per decode step of a sequence',
  contextTokenMs: 'the time per token of context of a decode step',
};

/** The names of the profile's terms in the order they are shown. */
export const PROFILE_NAMES = Object.keys(NAMES) as readonly (keyof EngineProfile)[];

/** `decodes`: false for embeddings, which say nothing about decoding. */
export function judgeFit(fit: ProfileFit, measured: Measurements, decodes: boolean): Verdict {
  const reasons: string[] = [];
  const { terms, rSquared, residual } = fit;
  for (const [phase, share] of [
    ['prompts', rSquared.prefill],
    ['decoding', rSquared.decode],
  ] as const) {
    if (share !== null && share < R_SQUARED_MIN)
      reasons.push(`the work model explains only ${percent(share)} of what was measured of ${phase} (R² below 0.9)`);
  }
  if (residual > RESIDUAL_MAX) reasons.push(`the fit misses the measurements by ${percent(residual)} in the median`);
  for (const name of PROFILE_NAMES)
    if (terms[name].isNegative)
      reasons.push(`${NAMES[name]} comes out negative: this engine does not follow the model`);
  reasons.push(...findUnmeasured(measured, decodes), ...findAbsurd(fit, decodes));
  return { reasons, notes: listNotes(fit, measured, decodes) };
}

/** What is built in for all of a phase is no calibration, however well it fits the rest. */
function findUnmeasured({ batchMax, longestPromptTokens }: Measurements, decodes: boolean): readonly string[] {
  const unmeasured: string[] = [];
  if (longestPromptTokens < COMPUTED_TOKENS_MIN)
    unmeasured.push(
      `nothing of prompts was measured: of none more than ${longestPromptTokens} tokens were computed, the rest came from a cache`,
    );
  if (decodes && batchMax === 0)
    unmeasured.push(
      'nothing of decoding was measured: answers end too early or come in too few pieces; a longer --duration asks for longer ones',
    );
  return unmeasured;
}

function findAbsurd({ terms }: ProfileFit, decodes: boolean): readonly string[] {
  const { iterationMs, prefillTokenMs, decodeStepMs } = terms;
  const absurd: string[] = [];
  if (prefillTokenMs.source === 'measured' && prefillTokenMs.value <= 0)
    absurd.push('prompts come out as free: something answers them from a cache');
  if (!decodes) return absurd;
  if (iterationMs.value <= 0) absurd.push('an iteration without work comes out as free');
  if (iterationMs.value > ITERATION_MS_MAX)
    absurd.push(`an iteration without work comes out as ${(iterationMs.value / 1000).toFixed(1)} s`);
  if (prefillTokenMs.value > iterationMs.value)
    absurd.push('one prompt token comes out as dearer than a whole iteration: the engine is limited or emulated');
  if (decodeStepMs.source === 'measured' && decodeStepMs.value > 2 * iterationMs.value)
    absurd.push('a further sequence comes out as dearer than two iterations: the engine does not batch, or is limited');
  return absurd;
}

function listNotes({ terms }: ProfileFit, measured: Measurements, decodes: boolean): readonly string[] {
  const notes: string[] = [];
  if (!decodes)
    notes.push('the engine embeds only: the decode terms are those built in, and the fixed time is told apart weakly');
  for (const name of PROFILE_NAMES)
    if (terms[name].source === 'prior' && (decodes || name.startsWith('prefill')))
      notes.push(
        `${NAMES[name]} could not be told from the measurements: it is mostly the one built in for this GPU and model`,
      );
  if (decodes && measured.batchMax > 0 && measured.batchMax < BATCH_WANTED)
    notes.push(`the engine never ran more than ${measured.batchMax} sequences side by side`);
  if (measured.tokensPerEvent > 1.3)
    notes.push(
      `the engine sends ${measured.tokensPerEvent.toFixed(1)} tokens per event: a decode step stands for as many`,
    );
  if (measured.longestPromptTokens < 3000)
    notes.push(
      `the longest prompt measured had ${measured.longestPromptTokens} tokens: beyond, the profile extrapolates`,
    );
  return notes;
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
