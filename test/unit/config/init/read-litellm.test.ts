import { readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readLitellmConfig } from '#config/init/read-litellm.ts';
import { runInit } from '#config/init/run-init.ts';
import { loadConfig } from '#config/load-config.ts';
import { createFolder, NOW_MS } from '../config-file.ts';

function write(text: string): string {
  const path = join(createFolder(), 'litellm.yaml');
  writeFileSync(path, text);
  return path;
}

const read = (text: string) => readLitellmConfig(write(text));
const entry = (name: string, params: string): string => `  - model_name: ${name}\n    litellm_params: { ${params} }\n`;
const list = (...entries: readonly string[]): string => `model_list:\n${entries.join('')}`;

describe('reading a LiteLLM configuration', () => {
  test.each([
    ['hosted_vllm/org/m', 'vllm', 'org/m'],
    ['openai/m', 'openai', 'm'],
    ['nvidia_nim/meta/m', 'nim', 'meta/m'],
    ['huggingface/m', 'tgi', 'm'],
    ['m', 'openai', 'm'],
  ])('%s is an engine of one’s own: %s serves %s', (model, engine, servedModel) => {
    const { deployments, notes } = read(list(entry('name', `model: ${model}, api_base: "http://e:8000/v1/"`)));
    expect(deployments).toEqual([
      {
        models: ['name'],
        servedModel,
        engine,
        upstreams: [{ url: 'http://e:8000', keyVariable: null }],
        weight: 1,
        priority: 0,
        defaults: {},
      },
    ]);
    expect(notes).toEqual([]);
  });

  test("Triton's path is cut to the server", () => {
    const { deployments } = read(
      list(entry('m', 'model: triton/ens, api_base: "http://t:8000/v2/models/ens/generate"')),
    );
    expect(deployments).toMatchObject([
      { engine: 'triton', servedModel: 'ens', upstreams: [{ url: 'http://t:8000' }] },
    ]);
  });

  test('entries that differ in their address alone are replicas, in their name alone aliases', () => {
    const { deployments } = read(
      list(
        entry('a', 'model: hosted_vllm/m, api_base: "http://e1/v1"'),
        entry('a', 'model: hosted_vllm/m, api_base: "http://e2/v1"'),
        entry('b', 'model: hosted_vllm/m, api_base: "http://e1/v1"'),
        entry('b', 'model: hosted_vllm/m, api_base: "http://e2/v1"'),
        entry('a', 'model: hosted_vllm/other, api_base: "http://e3/v1", weight: 3, order: 2'),
      ) + 'router_settings: { model_group_alias: { gpt-4: a, hidden: { model: b, hidden: true } } }\n',
    );
    expect(
      deployments.map(({ models, servedModel, upstreams, weight, priority }) => [
        models,
        servedModel,
        upstreams.map(({ url }) => url),
        weight,
        priority,
      ]),
    ).toEqual([
      [['a', 'b', 'gpt-4', 'hidden'], 'm', ['http://e1', 'http://e2'], 1, 0],
      [['a', 'gpt-4'], 'other', ['http://e3'], 3, -2],
    ]);
  });

  test('request fields become defaults', () => {
    const { deployments } = read(
      list(entry('a', 'model: openai/m, api_base: "http://e", max_tokens: 512, temperature: 0')),
    );
    expect(deployments[0]?.defaults).toEqual({ max_tokens: 512, temperature: 0 });
  });

  test('what has no counterpart is named, without any value of it', () => {
    const { deployments, notes } = read(
      `${list(
        entry('a', 'model: azure/gpt-4o, api_base: "https://x.example", api_key: sk-secret-1'),
        entry('b', 'model: openai/gpt-4o, api_key: sk-secret-2'),
        entry('c*', 'model: openai/x, api_base: "http://e"'),
        entry('d', 'model: openai/x, api_base: "http://user:sk-secret-3@e"'),
        entry('e', 'model: openai/x, api_base: "http://e", api_key: sk-secret-4, rpm: 6, input_cost_per_token: 1'),
        '  - 5\n',
      )}general_settings: { master_key: sk-secret-5, database_url: "postgres://sk-secret-6" }\nodd: sk-secret-7\n`,
    );
    expect(deployments).toMatchObject([{ models: ['e'], upstreams: [{ keyVariable: 'E_API_KEY' }] }]);
    expect(notes).toEqual([
      'model_list[0] was left out: azure is no engine whose GPUs are your own',
      'model_list[1] was left out: without api_base it is a provider in the cloud',
      'model_list[2] was left out: model names must be spelled out, without spaces or *',
      'model_list[3] was left out: its api_base is no http or https URL without user and query',
      'model_list[4] (e): not taken over: rpm, input_cost_per_token',
      'model_list[4]: its key was not copied; set E_API_KEY to it',
      'model_list[5] was left out: it needs model_name and litellm_params.model',
      'general_settings: not taken over: master_key, database_url',
      'odd: not taken over',
    ]);
    expect(JSON.stringify([deployments, notes])).not.toContain('sk-secret');
  });

  test.each([
    ['a: [', 'is not valid YAML'],
    ['['.repeat(20_000), 'nests deeper than 100 levels'],
    ['[]', 'has no model_list'],
    ['model_list: 5', 'has no model_list'],
    ['', 'has no model_list'],
  ])('%j is refused in words', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});

describe('init --from-litellm', () => {
  test('writes a configuration that is valid, has every deployment, no key, and says what it left out, what to set and what to try', async () => {
    const server = createServer((req, res) => {
      res.writeHead(req.url === '/v1/models' || req.url === '/version' ? 200 : 404, {
        'content-type': 'application/json',
      });
      res.end(
        req.url === '/version'
          ? '{"version":"0.28.0"}'
          : JSON.stringify({
              object: 'list',
              data: ['org/m', 'extra'].map((id) => ({ id, object: 'model', owned_by: 'vllm' })),
            }),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const fromLitellm = write(
      `${list(
        entry('gpt-4', `model: openai/org/m, api_base: "${url}/v1", api_key: "sk-secret", max_tokens: 100`),
        entry('gpt-4', 'model: hosted_vllm/big, api_base: os.environ/BIG_URL, api_key: os.environ/BIG_KEY, order: 1'),
        entry('cloud', 'model: anthropic/claude, api_key: sk-secret'),
      )}general_settings: { master_key: "sk-secret\\n# evil" }\n`,
    );
    const path = join(createFolder(), 'inferometer.yaml');
    let out = '';
    let err = '';
    const code = await runInit({
      upstream: url,
      gpu: 'H100-SXM',
      gpus: '4',
      usdPerGpuHour: '2.50',
      path,
      fromLitellm,
      nowMs: NOW_MS,
      env: { BIG_KEY: 'key-of-the-second' },
      out: (text) => void (out += text),
      err: (text) => void (err += text),
    });
    expect([code, err]).toEqual([0, '']);
    // The request to try names the model as clients do here, and what is not set yet is said.
    expect(out).toContain('{"model":"gpt-4",');
    expect(out).toContain('Set GPT_4_API_KEY, BIG_URL, then start the gateway');
    const text = readFileSync(path, 'utf8');
    expect(text).not.toContain('sk-secret');
    expect(text).toContain('# - model_list[2] was left out: anthropic is no engine whose GPUs are your own\n');
    const env = { GPT_4_API_KEY: 'key-of-the-first', BIG_URL: 'http://big:8000', BIG_KEY: 'key-of-the-second' };
    const loaded = loadConfig({ path, env, nowMs: NOW_MS });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    expect(loaded.warnings).toEqual([]);
    expect(loaded.config.deployments).toMatchObject([
      {
        name: 'gpt-4',
        models: ['gpt-4'],
        engine: 'vllm',
        servedModel: 'org/m',
        defaults: { max_tokens: 100 },
        upstreams: [{ url, apiKey: 'key-of-the-first', pool: 'engine-1' }],
      },
      {
        name: 'gpt-4-2',
        models: ['gpt-4'],
        servedModel: 'big',
        priority: -1,
        upstreams: [{ url: 'http://big:8000', apiKey: 'key-of-the-second' }],
      },
      { name: 'extra', models: ['extra'], engine: 'vllm', upstreams: [{ url, pool: 'engine-1' }] },
    ]);
  });
});
