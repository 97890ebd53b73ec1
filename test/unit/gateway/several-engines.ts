// Several fake engines behind one deployment, for the tests of what happens between them. Bindings are live: `start` sets them anew.
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { GatewayOptions } from '#gateway/create-gateway.ts';
import { type FakeEngine, type Script, startFakeEngine } from '#test/support/fake-engine.ts';
import { createVirtualClock, type VirtualClock } from '#test/support/virtual-clock.ts';
import {
  type Answer,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

/** The gateway of the present test. */
export let harness: Harness;
/** Its engines, `trt-1` first. */
export let engines: FakeEngine[] = [];
/** Stands still unless told otherwise, so that no ejection ends because the machine is slow. */
export let clock: VirtualClock;
/** Results of retries, oldest first. */
export let retries: string[] = [];
/** Names of ejected engines, oldest first. */
export let ejections: string[] = [];

/** How a test wants its deployment. */
export interface Setting {
  /** Engines; default 2. */
  readonly count?: number;
  readonly deployment?: Partial<DeploymentConfig>;
  readonly upstream?: (index: number) => Partial<UpstreamConfig>;
  readonly requestTimeoutMs?: number;
}

const nameOf = (index: number): string => `trt-${index + 1}`;

/** The config of a setting, over the engines given or all. */
export function configure({ deployment, upstream, requestTimeoutMs }: Setting, present = engines) {
  const upstreams = present.map((engine) => {
    const index = engines.indexOf(engine);
    return createUpstreamConfig(engine.url, { name: nameOf(index), ...upstream?.(index) });
  });
  const config = createConfig(
    [createDeploymentConfig(upstreams, deployment)],
    requestTimeoutMs === undefined ? {} : { server: { requestTimeoutMs } },
  );
  return { ...config, teams: config.teams.map((team) => ({ ...team, models: ['*'] })) };
}

/** Starts engines and a gateway that lets every team use them. */
export async function start(setting: Setting = {}, options: Partial<GatewayOptions> = {}): Promise<void> {
  engines = [];
  retries = [];
  ejections = [];
  for (let index = 1; index < (setting.count ?? 2); index += 1) engines.push(await startFakeEngine());
  const others = engines;
  const still = createVirtualClock();
  clock = still;
  harness = await startHarness(
    (url) => {
      // The harness has the first engine; what the config needs of it is its URL.
      engines = [{ url } as FakeEngine, ...others];
      return configure(setting);
    },
    {
      clock: { ...still, toEpochMs: (monotonicMs) => still.epochMs() - still.monotonicMs() + monotonicMs },
      onRetry: (_deployment, result) => void retries.push(result),
      onEjection: ({ upstream }) => void ejections.push(upstream),
      ...options,
    },
  );
  engines = [harness.engine, ...others];
}

/** Ends what `start` began. */
export async function stop(): Promise<void> {
  await harness.close();
  await Promise.all(engines.slice(1).map((engine) => engine.close()));
}

export const answerAll = (script: Script): void => {
  for (const engine of engines) engine.answerWith(script);
};
export const refuse =
  (status: number): Script =>
  (res) =>
    void res.writeHead(status, { 'content-type': 'text/plain' }).end(`engine says ${status}`);
export const succeed: Script = (res) => void res.end('{}');
export const reset: Script = (res) => void res.destroy();
/** Requests that each engine got. */
export const asked = (): number[] => engines.map(({ requests }) => requests.length);

/** Polls on every turn of the event loop. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}

/** Sends requests one after the other. */
export async function sendMany(count: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let index = 0; index < count; index += 1) answers.push(await send(harness.port));
  return answers;
}
