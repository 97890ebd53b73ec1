// What `inferometer calibrate` would find: its plan of lone prompts and streams side by side, run on the virtual engine, fitted by its own fit.
// Not here: its requests and verdicts (src/calibrate), the engine (run-engine.ts).
import { readDecodeSegments } from '#src/calibrate/decode-segments.ts';
import { fitProfile } from '#src/calibrate/fit-profile.ts';
import { describeDecode, describePrefill, type Observation } from '#src/calibrate/observation.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { EngineShape } from './engine-shapes.ts';
import type { PlannedRequest } from './plan-traffic.ts';
import { runEngine, type TracedRequest } from './run-engine.ts';

/** As measure-engine.ts plans them. */
const PROMPTS = [100, 400, 900, 1800, 3600, 7200, 14_000] as const;
const REPEATS = 4;
const BATCHES: readonly (readonly [batch: number, promptTokens: number, outputTokens: number])[] = [
  [1, 100, 200],
  [8, 100, 200],
  [32, 100, 200],
  [64, 100, 200],
  [8, 3600, 160],
];
const OVERHEAD_PRIOR_MS = 8;
/** Everything is measured alone. */
const APART_MS = 60_000;

/** The profile by a calibration whose prior is `prior`, ms. */
export function calibrateVirtually(shape: EngineShape, prior: EngineProfile): EngineProfile {
  const plans: PlannedRequest[] = [];
  const add = (atMs: number, promptTokens: number, outputTokens: number): void => {
    plans.push(planProbe(plans.length, atMs, { promptTokens, outputTokens }));
  };
  for (let repeat = 0; repeat < REPEATS; repeat += 1) {
    for (const tokens of PROMPTS) add(plans.length * APART_MS, tokens, 1);
  }
  const lone = plans.length;
  for (const [batch, promptTokens, outputTokens] of BATCHES) {
    const atMs = plans.length * APART_MS;
    for (let stream = 0; stream < batch; stream += 1) add(atMs, promptTokens, outputTokens);
  }
  const { requests } = runEngine(shape, plans);
  const observations = [
    ...requests.slice(0, lone).map((request) => observePrefill(request, shape.settings.tokenBudget)),
    ...observeDecodes(requests.slice(lone)),
  ];
  const { terms } = fitProfile({ observations, prior, overheadPriorMs: OVERHEAD_PRIOR_MS, seed: 7, draws: 0 });
  return {
    iterationMs: terms.iterationMs.value,
    prefillTokenMs: terms.prefillTokenMs.value,
    prefillContextMs: terms.prefillContextMs.value,
    decodeStepMs: terms.decodeStepMs.value,
    contextTokenMs: terms.contextTokenMs.value,
  };
}

function observePrefill({ plan, chunkAtMs }: TracedRequest, chunkTokens: number): Observation {
  return {
    phase: 'prefill',
    cell: `prefill ${plan.promptTokens}`,
    factors: describePrefill({ computedTokens: plan.promptTokens, cachedTokens: 0, chunkTokens }),
    measuredMs: (chunkAtMs[0] ?? 0) - plan.sentAtMs,
  };
}

function observeDecodes(requests: readonly TracedRequest[]): readonly Observation[] {
  const cells = Map.groupBy(requests, ({ plan }) => plan.sentAtMs);
  return [...cells.values()].flatMap((streams) =>
    readDecodeSegments(
      streams.map(({ plan, chunkAtMs }) => ({
        promptTokens: plan.promptTokens,
        tokenAtMs: chunkAtMs,
        stepsPerEvent: 1,
      })),
    ).map(({ batch, contextTokens, stepMs }) => ({
      phase: 'decode' as const,
      cell: `decode ${batch} × ${streams[0]?.plan.promptTokens ?? 0}`,
      factors: describeDecode(batch, contextTokens),
      measuredMs: stepMs,
    })),
  );
}

function planProbe(
  id: number,
  sentAtMs: number,
  { promptTokens, outputTokens }: { readonly promptTokens: number; readonly outputTokens: number },
): PlannedRequest {
  return {
    id,
    team: 'chat',
    sentAtMs,
    promptTokens,
    promptBytes: promptTokens * 4,
    // Unique prompts: no prefix is found in the cache.
    promptBlocks: [],
    outputTokens,
    stream: true,
    abortAfterChunks: null,
    chunkTokensMax: 1,
    uplinkMs: 5,
  };
}
