// Learns engine profiles from the windows that this process freezes, together with the other processes through the store, and applies them.
// Not here: the statistics (attribution/learn-*.ts, drift.ts), the document (learned-state.ts), the fact book (publish-profiles.ts).
import { type DriftWindows, driftOf } from '#attribution/drift.ts';
import { toTerms } from '#attribution/learn-fit.ts';
import { sampleWindow } from '#attribution/learn-sample.ts';
import { addSample, createGrid, mergeGrid, weighWork } from '#attribution/learn-statistics.ts';
import { scalePrefill } from '#attribution/prefill-factor.ts';
import { fromProfileFemtos } from '#attribution/profile-femtos.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LearnerStore } from '#domain/learner-store.ts';
import type { Log } from '#domain/log.ts';
import { type DeploymentFacts, type FactBook, factsInForce } from '#domain/pool-facts.ts';
import type { FreezeInput, Publication } from '#domain/settlement.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import { windowOf } from '#domain/window.ts';
import { decideProfile } from './decide-profile.ts';
import {
  addWindows,
  type FreshWindows,
  GROUPS_MAX,
  type LearnedGroup,
  type LearnedState,
  parseLearned,
  renderLearned,
} from './learned-state.ts';
import type { ProfileBook } from './profile-of.ts';
import { isGroup, type ProfileUpdate, publishProfiles } from './publish-profiles.ts';

export interface LearnerOptions {
  readonly store: LearnerStore;
  readonly settlement: Pick<SettlementStore, 'readFreezeInput' | 'putFacts'>;
  readonly books: Pick<BooksReader, 'readFacts'>;
  readonly profiles: ProfileBook;
  /** Told each fact book that was read. */
  readonly onFacts?: ((book: FactBook) => void) | undefined;
  /** False where the figures of a deployment are not one engine's: nothing is learned of it. */
  readonly canLearn: (deployment: string) => boolean;
  /** Monotonic ms. */
  readonly monotonicMs: () => number;
  readonly epochMs: () => number;
  readonly log: Log;
}

/** Sums go to the store this often. */
const STORE_INTERVAL_MS = 10_000;
/** A process that freezes nothing looks this often at what the others learned. */
const REFRESH_INTERVAL_MS = 30_000;
const STORE_ATTEMPTS_MAX = 4;
/** Busy windows after which terms that were measured have shown whether they fit. */
const SETTLED_WINDOWS = 600;

const NO_WINDOWS: DriftWindows = { busyMs: 0, modelledMs: 0, windows: 0 };

type Fresh = { -readonly [Member in keyof FreshWindows]: FreshWindows[Member] };

/**
 * Every window is frozen once, by one process, which learns from the publications of all: so each window is learned from once, whoever
 * freezes it. What was learned is summed in the store by compare-and-set, and whoever stores it decides whether it is applied.
 */
export class ProfileLearner {
  readonly #options: LearnerOptions;
  #fresh = new Map<string, Fresh>();
  #facts: FactBook | null = null;
  #dueAtMs: number;
  #refreshAtMs: number;

  constructor(options: LearnerOptions) {
    this.#options = options;
    this.#dueAtMs = options.monotonicMs() + STORE_INTERVAL_MS;
    this.#refreshAtMs = options.monotonicMs();
  }

  /** Takes the windows of a freeze that this process committed: those of `input` after its frontier up to `to`. Never throws. */
  observe(input: FreezeInput, to: number): void {
    this.#takeFacts(input.facts, windowOf(input.nowMs));
    const windows = new Map<string, Publication[]>();
    for (const { publication } of input.board) {
      const { pool, window } = publication;
      if (!Number.isSafeInteger(window) || window <= (input.frontier ?? window) || window > to) continue;
      const key = `${window}\n${pool}`;
      const others = windows.get(key);
      if (others === undefined) windows.set(key, [publication]);
      else others.push(publication);
    }
    for (const publications of windows.values()) this.#learnWindow(publications, input.facts);
  }

  /** Stores what was seen and applies what follows, when it is time. Resolves also where the store does not answer: it is tried again. */
  async tick(): Promise<void> {
    const nowMs = this.#options.monotonicMs();
    try {
      if (this.#fresh.size > 0 && nowMs >= this.#dueAtMs) {
        this.#dueAtMs = nowMs + STORE_INTERVAL_MS;
        await this.#store();
        this.#refreshAtMs = nowMs + REFRESH_INTERVAL_MS;
      } else if (nowMs >= this.#refreshAtMs) {
        this.#refreshAtMs = nowMs + REFRESH_INTERVAL_MS;
        await this.#refresh();
      }
    } catch (error) {
      if (!(error instanceof StoreUnavailableError))
        this.#options.log.error({ err: error }, 'learning a profile failed');
    }
  }

  #learnWindow(publications: readonly Publication[], facts: FactBook): void {
    const [first] = publications;
    const inForce = first === undefined ? undefined : factsInForce(facts, first.pool, first.window);
    if (first === undefined || inForce === undefined) return;
    const sample = sampleWindow(publications, inForce);
    const [name = ''] = sample?.group.split('+') ?? [];
    const deployment = inForce.deployments[name];
    if (sample === null || deployment === undefined || !sample.group.split('+').every(this.#options.canLearn)) return;
    const profile = Object.values(deployment.profile).join(' ');
    const engine = `${inForce.gpu} ${inForce.gpuMillionths} ${deployment.model}`;
    const known = this.#fresh.get(sample.group);
    if (known === undefined && this.#fresh.size >= GROUPS_MAX) return;
    const fresh = known?.engine === engine ? known : createFresh(profile, engine);
    this.#fresh.set(sample.group, fresh);
    addSample(fresh.grid, sample);
    fresh.samples += 1;
    // Work tells of the engine whatever it is priced by; whether the profile fits it only those windows that it priced.
    if (fresh.profile !== profile) Object.assign(fresh, { profile, drift: NO_WINDOWS });
    fresh.drift = addDrift(fresh.drift, {
      busyMs: sample.busyMs,
      modelledMs: weighWork(sample.work, toTerms(fromProfileFemtos(deployment.profile))),
      windows: 1,
    });
    fresh.lastWindow = Math.max(fresh.lastWindow, first.window);
  }

  #takeFacts(facts: FactBook, window: number): void {
    this.#facts = facts;
    this.#options.profiles.take(facts, window);
    this.#options.onFacts?.(facts);
  }

  async #refresh(): Promise<void> {
    const { books, store, epochMs } = this.#options;
    this.#takeFacts(await books.readFacts(), windowOf(epochMs()));
    this.#noteDrifts(parseLearned((await store.readLearned()).text));
  }

  async #store(): Promise<void> {
    const taken = this.#fresh;
    this.#fresh = new Map();
    const applied = new Set<string>();
    try {
      for (let attempt = 0; attempt < STORE_ATTEMPTS_MAX; attempt += 1) {
        const document = await this.#options.store.readLearned();
        const state = parseLearned(document.text);
        const updates = this.#merge(state, taken, attempt === 0);
        if (attempt === 0 && updates.length > 0) await this.#apply(updates, applied);
        for (const name of applied) markApplied(state.get(name));
        if ((await this.#options.store.putLearned(renderLearned(state), document.version)) === 'stored') {
          this.#noteDrifts(state);
          return;
        }
      }
    } catch (error) {
      this.#putBack(taken);
      throw error;
    }
    this.#putBack(taken);
  }

  /** Adds the fresh windows to the state; what is to be said of their deployments from now on. */
  #merge(state: LearnedState, taken: ReadonlyMap<string, Fresh>, tells: boolean): readonly GroupUpdate[] {
    const updates: GroupUpdate[] = [];
    for (const [name, fresh] of taken) {
      const deployments = name.split('+');
      const facts = this.#factsOf(deployments);
      if (facts === null) continue;
      // What a built-in profile says of time is a guess: it is replaced, and never in alarm.
      const change = addWindows(state, name, { fresh, relearns: isMeasuredLongAgo(facts, state.get(name)) });
      const group = state.get(name);
      if (group === undefined) continue;
      const drift = group.drift?.alarmed === true && facts.profileSource !== 'builtin' ? driftOf(group.drift) : null;
      if (tells && change !== null && facts.profileSource !== 'builtin')
        this.#tellDrift(deployments, facts, { change, drift });
      const configured = deployments.map((deployment) => this.#options.profiles.configured(deployment));
      const decision = decideProfile(group, configured, facts);
      const isNew = decision.learned !== null || decision.prefill !== null;
      if (isNew || (drift !== null) !== (facts.profileDrift !== undefined)) {
        updates.push({ group: name, update: { deployments, ...decision, drift } });
      }
    }
    return updates;
  }

  async #apply(updates: readonly GroupUpdate[], applied: Set<string>): Promise<void> {
    const { settlement, log, epochMs } = this.#options;
    const facts = await publishProfiles(
      settlement,
      updates.map(({ update }) => update),
    );
    this.#takeFacts(facts, windowOf(epochMs()));
    for (const { group, update } of updates) {
      const { deployments, learned, prefill } = update;
      const profile = learned?.profile ?? (prefill === null ? null : scalePrefill(prefill.declared, prefill.factor));
      if (profile === null || !this.#holds(deployments, profile)) continue;
      applied.add(group);
      tellApplied(log, group, update);
    }
  }

  /** Another process may have applied its own a moment ago. */
  #holds(deployments: readonly string[], profile: DeploymentFacts['profile']): boolean {
    const held = this.#factsOf(deployments)?.profile;
    return held !== undefined && Object.values(held).join(' ') === Object.values(profile).join(' ');
  }

  #tellDrift(
    deployments: readonly string[],
    { profileSource }: DeploymentFacts,
    { change, drift }: { readonly change: 'raised' | 'cleared'; readonly drift: number | null },
  ): void {
    const about = {
      deployment: deployments.join('+'),
      profileSource,
      drift: drift === null ? null : Number(drift.toFixed(3)),
    };
    if (change === 'cleared') this.#options.log.info(about, 'the engine runs as its profile says again');
    else {
      this.#options.log.warn(
        about,
        profileSource === 'learned'
          ? 'the engine no longer runs as its learned profile says; it is learned anew'
          : 'the engine no longer runs as its profile says; measure it again with `inferometer calibrate`',
      );
    }
  }

  /** The newest facts that some active pool of these deployments has of the first. */
  #factsOf(deployments: readonly string[]): DeploymentFacts | null {
    for (const versions of Object.values(this.#facts?.pools ?? {})) {
      const last = versions.at(-1);
      if (isGroup(last, deployments)) return last?.deployments[deployments[0] ?? ''] ?? null;
    }
    return null;
  }

  #noteDrifts(state: LearnedState): void {
    const drifts = new Map<string, number>();
    for (const [name, { drift }] of state) {
      const ratio = drift === null ? null : driftOf(drift);
      if (ratio !== null) for (const deployment of name.split('+')) drifts.set(deployment, ratio);
    }
    this.#options.profiles.noteDrifts(drifts);
  }

  #putBack(taken: ReadonlyMap<string, Fresh>): void {
    for (const [name, old] of taken) {
      const fresh = this.#fresh.get(name);
      if (fresh === undefined) this.#fresh.set(name, old);
      else if (fresh.engine === old.engine) {
        mergeGrid(fresh.grid, old.grid);
        fresh.samples += old.samples;
        if (fresh.profile === old.profile) fresh.drift = addDrift(fresh.drift, old.drift);
      }
    }
  }
}

interface GroupUpdate {
  readonly group: string;
  readonly update: ProfileUpdate;
}

/** An alarm soon after a part of prefill was applied says that the declared terms miss the time as a whole, as they did before. */
function isMeasuredLongAgo(facts: DeploymentFacts, group: LearnedGroup | undefined): boolean {
  if (facts.profileSource === 'learned') return true;
  const since = (group?.samplesEver ?? 0) - (group?.appliedAtSamples ?? 0);
  return facts.prefillFactor !== undefined && since >= SETTLED_WINDOWS;
}

function tellApplied(log: Log, deployment: string, { learned, prefill }: ProfileUpdate): void {
  if (learned !== null) {
    const { fitError, samples } = learned;
    log.info({ deployment, fitError, samples }, 'a profile learned from traffic prices the windows that follow');
  } else if (prefill !== null) {
    const { factor, samples } = prefill;
    const about = { deployment, prefillFactor: factor, error: Number(prefill.error.toFixed(3)), samples };
    log.info(about, 'the declared prefill counts for this part of its time, as measured, in the windows that follow');
  }
}

function createFresh(profile: string, engine: string): Fresh {
  return { engine, grid: createGrid(), samples: 0, profile, drift: NO_WINDOWS, lastWindow: 0 };
}

function addDrift(sums: DriftWindows, more: DriftWindows): DriftWindows {
  return {
    busyMs: sums.busyMs + more.busyMs,
    modelledMs: sums.modelledMs + more.modelledMs,
    windows: sums.windows + more.windows,
  };
}

function markApplied(group: LearnedGroup | undefined): void {
  if (group !== undefined) group.appliedAtSamples = group.samplesEver;
}
