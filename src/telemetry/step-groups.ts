// Steps of many requests put together by when their forward pass began: one group is one iteration of the engine, as far as its members are known.
// Not here: whether a group is whole and what it amounts to (iteration-members.ts), entries (request-timings.ts).
import { PromptProgress } from './prompt-progress.ts';
import type { RequestStep, RequestTiming, StatedBatch } from './request-timings.ts';

/** Memberships kept, over all groups: two minutes of a hundred sequences at thirty steps a second. */
const MEMBERSHIPS_MAX = 400_000;
/** Members may come this long after each other: with the end of each request. */
const AGE_MS_MAX = 600_000;
/** Ids remembered: an entry that is answered twice is one request. */
const IDS_MAX = 10_000;

/** One iteration. Filled as entries come; nothing here says that all its members are there. */
export interface StepGroup {
  readonly startedAt: number;
  /** Times of the batch, ms: the same in every member, taken from the first that has them. */
  forwardMs: number | null;
  sampleMs: number;
  /** The engine's number of it by its members' first and last iteration; null while none of them can be counted through. */
  iteration: number | null;
  /** False where the number rests on chunks of a prompt following each other, which a full batch may prevent. */
  isNumberSure: boolean;
  /** Members disagree on what is the same for all. */
  isContradictory: boolean;
  batch: StatedBatch | null;
  readonly chunks: { readonly prompt: PromptProgress; readonly index: number }[];
  /** Decoding members, and the sum of the tokens that each had generated before: what its context has beyond the prompt. */
  readonly decoders: PromptProgress[];
  generatedTokens: number;
  readonly addedAtMs: number;
}

/** The groups of one engine in one of its lives. Bounded: the oldest are forgotten. */
export class StepGroups {
  readonly #groups = new Map<number, StepGroup>();
  /** Null: several groups claim the number. */
  readonly #byIteration = new Map<number, StepGroup | null>();
  readonly #ids = new Set<string>();
  #memberships = 0;

  /** Adds one request's steps; the groups it belongs to. */
  add(timing: RequestTiming, nowMs: number): readonly StepGroup[] {
    const [first] = timing.chunks.length > 0 ? timing.chunks : timing.steps;
    const id = `${timing.id ?? ''} ${first?.startedAt ?? ''}`;
    if (this.#ids.has(id)) return [];
    this.#ids.add(id);
    const prompt = new PromptProgress(timing);
    const numbers = numberSteps(timing);
    const chunks = timing.chunks.map((step, index) => {
      const group = this.#join(step, nowMs);
      group.chunks.push({ prompt, index });
      return group;
    });
    const steps = timing.steps.map((step, index) => {
      const group = this.#join(step, nowMs);
      group.decoders.push(prompt);
      // The first token came of the last chunk.
      group.generatedTokens += 1 + index;
      return group;
    });
    const joined = [...chunks, ...steps];
    for (const [at, group] of joined.entries()) {
      const number = numbers[at];
      if (number !== undefined) this.#number(group, number);
    }
    this.#forget(nowMs);
    return joined;
  }

  /** The one group of that number; null where there is none, or where several claim it. */
  find(iteration: number): StepGroup | null {
    return this.#byIteration.get(iteration) ?? null;
  }

  /** What was used, or cannot be any more. */
  remove(group: StepGroup): void {
    if (!this.#groups.delete(group.startedAt)) return;
    this.#memberships -= group.chunks.length + group.decoders.length;
    if (group.iteration !== null && this.#byIteration.get(group.iteration) === group) {
      this.#byIteration.delete(group.iteration);
    }
  }

  /** Groups and numbers kept now, for whoever watches the bounds. */
  get size(): { readonly groups: number; readonly memberships: number; readonly numbers: number } {
    return { groups: this.#groups.size, memberships: this.#memberships, numbers: this.#byIteration.size };
  }

  #join(step: RequestStep, nowMs: number): StepGroup {
    let group = this.#groups.get(step.startedAt);
    if (group === undefined) {
      group = createGroup(step.startedAt, nowMs);
      this.#groups.set(step.startedAt, group);
    }
    this.#memberships += 1;
    const { forwardMs, sampleMs, batch } = step;
    if (group.forwardMs === null && forwardMs !== null) Object.assign(group, { forwardMs, sampleMs });
    else if (forwardMs !== null && forwardMs !== group.forwardMs) group.isContradictory = true;
    group.batch ??= batch;
    const isSameBatch =
      batch === null || (batch.prefilling === group.batch?.prefilling && batch.decoding === group.batch.decoding);
    if (!isSameBatch) group.isContradictory = true;
    return group;
  }

  #number(group: StepGroup, { iteration, isSure }: NumberedStep): void {
    if (group.iteration === iteration) {
      group.isNumberSure ||= isSure;
      return;
    }
    if (group.iteration !== null && group.isNumberSure) {
      // A number that is only likely does not speak against one that is sure.
      if (isSure) group.isContradictory = true;
      return;
    }
    if (group.iteration !== null && this.#byIteration.get(group.iteration) === group) {
      this.#byIteration.delete(group.iteration);
    }
    group.iteration = iteration;
    group.isNumberSure = isSure;
    const other = this.#byIteration.get(iteration);
    this.#byIteration.set(iteration, other === undefined ? group : pickSurer(other, group));
  }

  #forget(nowMs: number): void {
    for (const group of this.#groups.values()) {
      if (this.#memberships <= MEMBERSHIPS_MAX && nowMs - group.addedAtMs <= AGE_MS_MAX) break;
      this.remove(group);
    }
    // Numbers that several claimed stay behind when those are gone.
    for (const iteration of this.#byIteration.keys()) {
      if (this.#byIteration.size <= this.#groups.size + IDS_MAX) break;
      this.#byIteration.delete(iteration);
    }
    for (const id of this.#ids) {
      if (this.#ids.size <= IDS_MAX) break;
      this.#ids.delete(id);
    }
  }
}

interface NumberedStep {
  readonly iteration: number;
  readonly isSure: boolean;
}

/**
 * Numbers of chunks and steps, in this order; undefined where they cannot be told. A request that took part in every iteration from its first to
 * its last has as many steps as lie between these numbers: they are counted back from the last. One that was paused has fewer, and none is
 * numbered. The engine counts from the first token; that the chunks before it followed each other is likely, not sure, except where it counts
 * from the first chunk.
 */
function numberSteps(timing: RequestTiming): readonly (NumberedStep | undefined)[] {
  const { chunks, steps, firstIteration, lastIteration } = timing;
  const all = [...chunks, ...steps];
  const span = firstIteration === null || lastIteration === null ? Number.NaN : lastIteration - firstIteration + 1;
  const firstSure =
    span === all.length ? 0 : span === steps.length + Math.min(1, chunks.length) ? chunks.length - 1 : null;
  return all.map((step, index) => {
    if (step.iteration !== null) return { iteration: step.iteration, isSure: true };
    if (firstSure === null || lastIteration === null) return undefined;
    return { iteration: lastIteration - (all.length - 1 - index), isSure: index >= firstSure };
  });
}

/** A sure number beats a likely one; two of one kind leave it open. */
function pickSurer(other: StepGroup | null, group: StepGroup): StepGroup | null {
  if (other === null || other.isNumberSure === group.isNumberSure) return null;
  return other.isNumberSure ? other : group;
}

function createGroup(startedAt: number, addedAtMs: number): StepGroup {
  return {
    startedAt,
    forwardMs: null,
    sampleMs: 0,
    iteration: null,
    isNumberSure: false,
    isContradictory: false,
    batch: null,
    chunks: [],
    decoders: [],
    generatedTokens: 0,
    addedAtMs,
  };
}
