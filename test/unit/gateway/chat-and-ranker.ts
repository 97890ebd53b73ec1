// A chat model and, as Triton, a model `ranker` of its own, both on one fake engine: for tests of what holds in every protocol.
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import { createDeploymentConfig, createUpstreamConfig } from './harness.ts';

/** What a test changes of the two. */
export interface ChatAndRankerChanges {
  readonly chat?: Partial<DeploymentConfig>;
  readonly ranker?: Partial<DeploymentConfig>;
  /** Of the upstream of each. */
  readonly upstream?: Partial<UpstreamConfig>;
}

/** Both deployments, for `createConfig`; the chat model alone takes routes that are forwarded. */
export function createChatAndRanker(
  url: string,
  { chat, ranker, upstream }: ChatAndRankerChanges = {},
): readonly DeploymentConfig[] {
  return [
    createDeploymentConfig([createUpstreamConfig(url, upstream)], chat),
    createDeploymentConfig([createUpstreamConfig(url, { ...upstream, name: 't-1', pool: 'ranker/t-1' })], {
      name: 'ranker',
      models: ['ranker'],
      engine: 'triton',
      servedModel: 'ranker',
      passThrough: [],
      ...ranker,
    }),
  ];
}
