// A gateway before one engine of a kind, and the words of the tables in upstream-streams and upstream-answers.
import type { EngineName } from '#config/config.ts';
import type { Script } from '#test/support/fake-engine.ts';
import { createConfig, createDeploymentConfig, createUpstreamConfig, type Harness, startHarness } from './harness.ts';

/** A gateway whose one engine is of the kind given and serves `m`. */
export function startBefore(engine: EngineName): Promise<Harness> {
  return startHarness((url) =>
    createConfig([
      createDeploymentConfig([createUpstreamConfig(url)], {
        engine,
        models: ['m', 'm@main'],
        servedModel: engine === 'triton' ? 'ensemble' : 'served',
      }),
    ]),
  );
}

export const data = (payload: object): string => `data: ${JSON.stringify(payload)}\n\n`;
export const USAGE = { prompt_tokens: 9, total_tokens: 13, completion_tokens: 4 };
export const REPORTED = { tokenSource: 'reported', tokens: { input: 9, output: 4 } };

/** Answers what clients ask; questions of the gateway's own get an empty object. */
export const post =
  (script: Script): Script =>
  (res, request) =>
    request.method === 'POST' ? script(res, request) : void res.end('{}');
