// What a gateway knows of its engines' profiles: as configured, as learned by all gateways, and the learner itself. Not here: any rule of learning.
import type { Config } from '#config/config.ts';
import type { BooksReader } from '#domain/books.ts';
import type { Clock } from '#domain/clock.ts';
import type { LearnerStore } from '#domain/learner-store.ts';
import type { Log } from '#domain/log.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { createConfiguredProfiles } from './pool-facts-from-config.ts';
import { type LearnerOptions, ProfileLearner } from './profile-learner.ts';
import { type DeploymentProfile, ProfileBook } from './profile-of.ts';

export interface LearningOptions {
  /** The one in force. */
  readonly config: () => Pick<Config, 'deployments'>;
  readonly stores: {
    readonly settlement: SettlementStore;
    readonly books: BooksReader;
    readonly learner: LearnerStore;
  };
  /** See LearnerOptions. */
  readonly onFacts?: LearnerOptions['onFacts'];
  readonly clock: Pick<Clock, 'monotonicMs' | 'epochMs'>;
  readonly log: Log;
}

export interface Learning {
  readonly profiles: ProfileBook;
  readonly learner: ProfileLearner;
  /** Of every configured deployment, for metrics and the admin plane. */
  readonly describe: () => readonly (DeploymentProfile & {
    readonly deployment: string;
    /** Real ÷ modelled time of the engine − 1; null where too little was seen. */
    readonly drift: number | null;
  })[];
}

/** Nothing is read or stored before the learner's first tick. */
export function createLearning({ config, stores, onFacts, clock, log }: LearningOptions): Learning {
  const profiles = new ProfileBook(createConfiguredProfiles(config));
  const learner = new ProfileLearner({
    store: stores.learner,
    settlement: stores.settlement,
    books: stores.books,
    profiles,
    onFacts,
    canLearn: (deployment) => isOneEngine(config(), deployment),
    monotonicMs: () => clock.monotonicMs(),
    epochMs: () => clock.epochMs(),
    log,
  });
  const describe = () =>
    config().deployments.map(({ name }) => ({
      deployment: name,
      ...profiles.of(name),
      drift: profiles.driftOf(name),
    }));
  return { profiles, learner, describe };
}

/**
 * A URL that hides several engines shows the time of none of them, and work without tokens follows no profile. A request's time before its first token
 * is much else than the work of those who compute prompts for others: the queue of their front, and the way of the KV cache.
 */
function isOneEngine({ deployments }: Pick<Config, 'deployments'>, name: string): boolean {
  const deployment = deployments.find((known) => known.name === name);
  return (
    deployment !== undefined &&
    deployment.work === 'tokens' &&
    deployment.prefillsFor === undefined &&
    deployment.upstreams.every(({ replicas }) => replicas === 1)
  );
}
