// Profiles that engines' iteration rows give: collected per engine, and published when they would change what is charged.
// Not here: the fit (iteration-profile.ts), the fact book (accounting/publish-engine-profile.ts).
import { chooseProfile } from '#accounting/pool-facts-from-config.ts';
import { publishEngineProfile } from '#accounting/publish-engine-profile.ts';
import { createBuiltinProfile } from '#attribution/builtin-profile.ts';
import { isWorthApplying } from '#attribution/learn-judge.ts';
import { fromProfileFemtos } from '#attribution/profile-femtos.ts';
import type { BooksReader } from '#domain/books.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import type { DeploymentFacts } from '#domain/pool-facts.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import { type ExactIteration, IterationProfile } from './iteration-profile.ts';
import type { IterationRow } from './iteration-rows.ts';
import type { StatisticsTarget } from './statistics-targets.ts';

export interface EngineProfilesOptions {
  readonly settlement: Pick<SettlementStore, 'readFreezeInput' | 'putFacts'>;
  readonly books: Pick<BooksReader, 'readFacts'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
}

/** Fits are cheap, but the store is asked for the profile in force at each. */
const JUDGE_INTERVAL_MS = 10_000;
const ENGINES_MAX = 1000;
/** Half a minute of iterations: less shows one load only. */
const SAMPLES_MIN = 200;

interface Learning {
  readonly profile: IterationProfile;
  judgedAtMs: number;
  appliedAtSamples: number;
}

/** What one read of an engine brought: rows as they came, and iterations of these or of earlier rows whose members are known by now. */
export interface EngineIterations {
  readonly rows: readonly IterationRow[];
  readonly exact: readonly ExactIteration[];
}

/** One per process; hears the iterations of the engines that this process reads. */
export class EngineProfiles {
  readonly #options: EngineProfilesOptions;
  readonly #byEngine = new Map<string, Learning>();
  #isJudging = false;

  constructor(options: EngineProfilesOptions) {
    this.#options = options;
  }

  /** Takes iterations of an engine. Where no deployment of it could use a profile, or its GPUs are shared with other engines, they are ignored. Never rejects. */
  async take(target: StatisticsTarget, { rows, exact }: EngineIterations): Promise<void> {
    if (!target.isWholePool || chooseProfile(target.deployment).source !== 'builtin') return;
    const nowMs = this.#options.clock.monotonicMs();
    let learning = this.#byEngine.get(target.lease);
    if (learning === undefined) {
      if (this.#byEngine.size >= ENGINES_MAX) return;
      learning = { profile: new IterationProfile(), judgedAtMs: nowMs, appliedAtSamples: 0 };
      this.#byEngine.set(target.lease, learning);
    }
    learning.profile.take(rows);
    learning.profile.takeExact(exact);
    if (this.#isJudging || nowMs - learning.judgedAtMs < JUDGE_INTERVAL_MS) return;
    if (learning.profile.samplesEver < SAMPLES_MIN) return;
    learning.judgedAtMs = nowMs;
    this.#isJudging = true;
    try {
      await this.#judge(target, learning);
    } catch (error) {
      // Where the store does not answer the next judgement is soon.
      if (!(error instanceof StoreUnavailableError)) {
        this.#options.log.error(
          { err: error, deployment: target.deployment.name },
          'an engine profile was not applied',
        );
      }
    } finally {
      this.#isJudging = false;
    }
  }

  async #judge(target: StatisticsTarget, learning: Learning): Promise<void> {
    const { settlement, books, log } = this.#options;
    const { pool, deployment, deployments } = target;
    const starting = createBuiltinProfile({
      gpu: deployment.gpu,
      gpus: deployment.gpuMillionths / 1_000_000,
      modelNames: [...deployment.models, deployment.servedModel, deployment.name],
    });
    const { profile, appliedAtSamples } = learning;
    const fit = profile.fit(starting);
    if (fit === null) return;
    const inForce = await this.#readInForce(target, books);
    if (inForce === null) return;
    const before = {
      profile: fromProfileFemtos(inForce.profile),
      isLearned: inForce.profileSource === 'engine',
      appliedAtSamples,
      drifting: false,
    };
    if (!isWorthApplying(fit, before, { grid: profile.grid, samplesEver: profile.samplesEver })) return;
    const { fitError, samples } = fit;
    if (!(await publishEngineProfile(settlement, { pool, deployments, profile: fit.profile, fitError, samples })))
      return;
    learning.appliedAtSamples = profile.samplesEver;
    log.info(
      { deployment: deployments.join('+'), fitError, iterations: profile.basis },
      'a profile read from the engine prices what follows',
    );
  }

  async #readInForce(
    { pool, deployment }: StatisticsTarget,
    books: Pick<BooksReader, 'readFacts'>,
  ): Promise<DeploymentFacts | null> {
    const last = (await books.readFacts()).pools[pool]?.at(-1);
    return last?.deployments[deployment.name] ?? null;
  }
}
