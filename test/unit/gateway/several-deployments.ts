// Several deployments that serve one model, `shared`, each with fake engines of its own, for the tests of which of them gets a request. Bindings
// are live: `start` sets them anew. Not here: several engines behind one deployment (several-engines.ts).
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { GatewayOptions } from '#gateway/create-gateway.ts';
import { type FakeEngine, type Script, startFakeEngine } from '#test/support/fake-engine.ts';
import {
  type Answer,
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

const NAMES = ['main', 'spare', 'last'];

/** The gateway of the present test. */
export let harness: Harness;
/** Engines of `main`, of `spare`, of `last`. */
export let engines: FakeEngine[][] = [];
/** Deployments and results of retries, oldest first. */
export let retries: string[] = [];

/** How a test wants its deployments; they are named in this order, and the priority falls with it. */
export interface Setting {
  /** Engines of each deployment; default one for each of two. */
  readonly counts?: readonly number[];
  readonly deployment?: (index: number) => Partial<DeploymentConfig>;
  readonly upstream?: Partial<UpstreamConfig>;
  readonly options?: Partial<GatewayOptions>;
}

/** Starts engines and a gateway; each deployment has a model name of its own beside the shared one. */
export async function start({ counts = [1, 1], deployment, upstream, options }: Setting = {}): Promise<void> {
  retries = [];
  engines = await Promise.all(
    counts.map((count) => Promise.all(Array.from({ length: count }, () => startFakeEngine()))),
  );
  const open = createConfig(
    engines.map((group, index) => {
      const name = NAMES[index] as string;
      const upstreams = group.map(({ url }, at) =>
        createUpstreamConfig(url, { name: `${name}-${at}`, pool: `${name}/${at}`, ...upstream }),
      );
      const priority = 10 - index;
      const shared = { name, models: [`${name}-model`, 'shared'], servedModel: `${name}-served`, priority };
      return createDeploymentConfig(upstreams, { ...shared, ...deployment?.(index) });
    }),
  );
  // Only the team of the first key has limits to ask about.
  const teams = open.teams.map((team, index) => (index === 0 ? { ...team, limits: { concurrency: 9 } } : team));
  harness = await startHarness(() => ({ ...open, teams }), {
    onRetry: (name, result) => void retries.push(`${name} ${result}`),
    ...options,
  });
}

/** Ends what `start` began. */
export async function stop(): Promise<void> {
  await harness.close();
  await Promise.all(engines.flat().map((engine) => engine.close()));
}

/** Sends a chat request for the shared model. */
export const ask = (fields: object = {}, headers: Record<string, string> = {}): Promise<Answer> =>
  send(harness.port, { body: chatBody({ model: 'shared', ...fields }), headers });
/** Lets all engines of one deployment answer so. */
export const answerOf = (index: number, script: Script): void =>
  engines[index]?.forEach((engine) => engine.answerWith(script));
/** Requests that the engines of each deployment got together. */
export const asked = (): number[] =>
  engines.map((group) => group.reduce((sum, { requests }) => sum + requests.length, 0));
/** The records in short, by attempt. */
export const told = () =>
  harness.metering.records
    .toSorted((left, right) => left.attempt - right.attempt)
    .map(({ attempt, deployment, model, outcome, status, lastAttempt }) => [
      attempt,
      deployment,
      model,
      outcome,
      status,
      lastAttempt,
    ]);

/** A whole answer with usage, for the deployment that should get the request. */
export const ANSWER = {
  choices: [{ message: { content: 'from the spare' } }],
  usage: { prompt_tokens: 3, completion_tokens: 4 },
};
