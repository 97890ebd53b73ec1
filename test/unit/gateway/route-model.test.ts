// What a caller whose team may use only some of a deployment's names gets, with and without a name.
import { expect, it } from 'vitest';
import type { Caller } from '#domain/caller.ts';
import { ModelRouter } from '#gateway/route-model.ts';
import { createConfig, createDeploymentConfig, createUpstreamConfig } from './harness.ts';

const upstream = createUpstreamConfig('http://127.0.0.1:9');
const router = new ModelRouter(
  createConfig([
    createDeploymentConfig([upstream], { name: 'llama', models: ['llama-70b', 'meta/llama'] }),
    createDeploymentConfig([upstream], { name: 'other', models: ['gemma'] }),
  ]),
  () => true,
);
const caller: Caller = { team: 'ads', project: null, keyId: null, models: ['meta/*'], scopes: [], limited: false };

it('a team that may use a deployment by an alias alone gets it where it names none', () => {
  expect(router.listModels(caller)).toEqual([{ id: 'meta/llama', ownedBy: 'llama' }]);
  expect(router.route({ caller, model: null, deployment: undefined }).name).toBe('llama');
  expect(router.route({ caller, model: null, deployment: 'llama' }).name).toBe('llama');
});

it('its other names, and other deployments, stay refused', () => {
  const code = (model: string | null, deployment?: string): unknown => {
    try {
      return router.route({ caller, model, deployment }).name;
    } catch (error) {
      return (error as { code?: string }).code;
    }
  };
  expect([code('meta/llama'), code('llama-70b'), code('gemma'), code(null, 'other')]).toEqual([
    'llama',
    'model_not_allowed',
    'model_not_allowed',
    'model_not_allowed',
  ]);
});
