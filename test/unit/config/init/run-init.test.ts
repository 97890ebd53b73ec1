import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runInit } from '#config/init/run-init.ts';
import type { InitOptions } from '#config/init/run-init.ts';
import { loadConfig } from '#config/load-config.ts';
import { createFolder, NOW_MS } from '../config-file.ts';

type Routes = Readonly<Record<string, unknown>>;

/** An engine that answers `routes` ("METHOD /path" → JSON, or a status) and notes what it was asked. */
async function startEngine(
  routes: Routes,
  key = '',
): Promise<{ readonly url: string; readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const server: Server = createServer((req, res) => {
    const route = `${req.method} ${req.url}`;
    asked.push(route);
    const answer = routes[route] ?? 404;
    const isRefused =
      key !== '' && req.url?.startsWith('/v1') === true && req.headers.authorization !== `Bearer ${key}`;
    const status = isRefused ? 401 : typeof answer === 'number' ? answer : 200;
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(status === 200 ? JSON.stringify(answer) : '{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** URL of a server on the first of the given ports that is free; it is closed after the test. */
async function listen(server: Server, ports: readonly number[] = [0]): Promise<string> {
  for (const port of ports) {
    const isTaken = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(true));
      server.listen(port, '127.0.0.1', () => resolve(false));
    });
    if (!isTaken) break;
  }
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const models = (owner: string, ...ids: readonly string[]): Routes => ({
  'GET /v1/models': { object: 'list', data: ids.map((id) => ({ id, object: 'model', owned_by: owner })) },
});

async function init(options: Partial<InitOptions> & { readonly upstream: string }) {
  const path = options.path ?? join(createFolder(), 'deep', 'inferometer.yaml');
  let out = '';
  let err = '';
  const code = await runInit({
    gpu: 'H100-SXM',
    gpus: '4',
    usdPerGpuHour: '2.50',
    nowMs: NOW_MS,
    probeTimeoutMs: 2000,
    ...options,
    path,
    out: (part) => void (out += part),
    err: (part) => void (err += part),
  });
  return { code, out, err, path };
}

function loadWritten(path: string, env: Readonly<Record<string, string>> = {}) {
  const result = loadConfig({ path, env, nowMs: NOW_MS });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result;
}

describe('recognising engines', () => {
  test.each<[string, string, Routes]>([
    [
      'tensorrt-llm',
      'trtllm-serve',
      { ...models('tensorrt_llm', 'm'), 'GET /health': 200, 'GET /version': { version: '1.2.0' } },
    ],
    [
      'triton-openai',
      'the Triton OpenAI frontend',
      { ...models('Triton Inference Server', 'm'), 'GET /health/ready': {} },
    ],
    ['vllm', 'vLLM', { ...models('vllm', 'm'), 'GET /version': { version: '0.28.0' } }],
    ['nim', 'NIM on vLLM', { ...models('vllm', 'm'), 'GET /v1/metadata': {}, 'GET /v1/health/ready': {} }],
    ['tgi', 'TGI', { ...models('hf/m', 'm'), 'GET /info': { model_id: 'm', router: 'x' } }],
    [
      'dynamo',
      'the Dynamo frontend',
      { ...models('nvidia', 'm'), 'GET /live': { status: 'live' }, 'GET /health': { status: 'healthy' } },
    ],
    ['transformers', 'transformers serve', { ...models('hf', 'm'), 'GET /health': { status: 'ok' } }],
    ['openai', 'anything else that lists models', models('somebody', 'm')],
    [
      'triton',
      'Triton over KServe',
      {
        'GET /v2': { name: 'triton', version: '2.73.0' },
        'POST /v2/repository/index': [
          { name: 'm', version: '1', state: 'READY' },
          { name: 'gone', state: 'UNAVAILABLE' },
        ],
      },
    ],
  ])('%s is recognised by what %s answers', async (engine, _server, routes) => {
    const { url, asked } = await startEngine(routes);
    const { code, err, path } = await init({ upstream: url });
    expect(err).toBe('');
    expect(code).toBe(0);
    const { config, warnings } = loadWritten(path);
    expect(warnings).toEqual([]);
    expect(config.deployments).toHaveLength(1);
    expect(config.deployments[0]).toMatchObject({
      engine,
      models: ['m'],
      servedModel: 'm',
      gpuMillionths: 4_000_000,
      priceName: 'main',
      upstreams: [{ url }],
    });
    expect(asked.filter((route) => /completions|generate|metrics|infer\b|load/.test(route))).toEqual([]);
  });

  test('Triton’s language models are metered by tokens and tried with generate, its others by time', async () => {
    const inputs = (...names: string[]) => ({ inputs: names.map((name) => ({ name })) });
    const { url, asked } = await startEngine({
      'GET /v2': { name: 'triton', version: '2.73.0' },
      'POST /v2/repository/index': ['preprocessing', 'ensemble', 'tensorrt_llm', 'vllm'].map((name) => ({ name })),
      'GET /v2/models/preprocessing': inputs('QUERY'),
      'GET /v2/models/ensemble': inputs('text_input', 'max_tokens'),
      'GET /v2/models/tensorrt_llm': inputs('input_ids', 'request_output_len'),
      'GET /v2/models/vllm': inputs('text_input', 'sampling_parameters'),
    });
    const { out, path } = await init({ upstream: url });
    const { config } = loadWritten(path);
    expect(config.deployments.map(({ servedModel, work }) => [servedModel, work])).toEqual([
      ['preprocessing', 'duration'],
      ['ensemble', 'tokens'],
      ['tensorrt_llm', 'tokens'],
      ['vllm', 'tokens'],
    ]);
    expect(out).toContain('/v2/models/ensemble/generate');
    expect(out).toContain('{"text_input":"Hello","max_tokens":16}');
    expect(asked.filter((route) => /generate|infer\b|load/.test(route))).toEqual([]);
  });

  test('an engine at a port that browsers refuse, such as 6000, is probed like any other', async () => {
    const server = createServer((req, res) =>
      res.writeHead(req.url === '/v1/models' ? 200 : 404).end(JSON.stringify(models('vllm', 'm')['GET /v1/models'])),
    );
    const url = await listen(server, [6000, 6665, 6666, 6667, 6668, 6669, 6697, 10_080]);
    expect(await init({ upstream: url })).toMatchObject({ code: 0, err: '' });
  });

  test('models that the file cannot hold are counted, in the answer and in the file', async () => {
    const { url } = await startEngine(
      models('vllm', 'My Model', 'modèle', ...Array.from({ length: 103 }, (_, at) => `m${at}`)),
    );
    const text = await init({ upstream: url });
    expect(text.out).toContain('Note: 5 more of its models are not in the file: only 100 are taken');
    expect(readFileSync(text.path, 'utf8')).toContain('# - 5 more of its models are not in the file');
    expect(loadWritten(text.path).config.deployments).toHaveLength(100);
    expect(JSON.parse((await init({ upstream: url, json: true })).out)).toMatchObject({ leftOut: 5 });
    const odd = await startEngine(models('vllm', 'My Model'));
    const refused = await init({ upstream: odd.url });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('lists models only under names with spaces or other characters than ASCII');
  });

  test('the request to try is one shell command whatever the model is called', async () => {
    const { url } = await startEngine({
      'GET /v2': { name: 'triton', version: '2.73.0' },
      'POST /v2/repository/index': [{ name: "it's(1)" }],
      "GET /v2/models/it's(1)": { inputs: [{ name: 'text_input' }] },
    });
    const { out } = await init({ upstream: url });
    const command = out.slice(out.indexOf('  curl')).trim();
    const { stdout } = spawnSync('sh', ['-c', `curl() { printf '%s\\n' "$@"; }; ${command}`], { encoding: 'utf8' });
    expect(stdout.split('\n').slice(0, 2)).toEqual(["http://127.0.0.1:8080/v2/models/it's(1)/generate", '-H']);
  });

  test('several models of one engine share one pool', async () => {
    const { url } = await startEngine(
      models('vllm', 'org/Base Model', 'org/Llama-3.1-8B', 'other/llama-3.1-8b', '${ODD}'),
    );
    const { path } = await init({ upstream: `${url}/v1/` });
    const { config } = loadWritten(path);
    expect(
      config.deployments.map(({ name, models: names, upstreams }) => [name, names[0], upstreams[0]?.pool]),
    ).toEqual([
      ['llama-3.1-8b', 'org/Llama-3.1-8B', 'engine-1'],
      ['llama-3.1-8b-2', 'other/llama-3.1-8b', 'engine-1'],
      ['odd-', '${ODD}', 'engine-1'],
    ]);
  });
});

describe('what init writes', () => {
  test('the printed key is the one of the first team, kept apart from the config and readable by its owner alone', async () => {
    const { url } = await startEngine(models('vllm', 'm'));
    const { out, path } = await init({ upstream: url });
    const { config, files } = loadWritten(path);
    const key = config.teams[0]?.keys[0]?.key ?? '';
    expect(key).toMatch(/^im-[\w-]{32}$/);
    expect(out).toContain(`curl http://127.0.0.1:8080/v1/chat/completions -H "Authorization: Bearer ${key}"`);
    expect(readFileSync(path, 'utf8')).not.toContain(key);
    expect(statSync(files[1] ?? '').mode & 0o777).toBe(0o600);
    expect(config.prices[0]).toMatchObject({ from: '2026-11-23', nanoUsdPerGpuHour: 2_500_000_000n });
  });

  test('two runs make two keys', async () => {
    const { url } = await startEngine(models('vllm', 'm'));
    const keys = await Promise.all([init({ upstream: url, json: true }), init({ upstream: url, json: true })]);
    expect(new Set(keys.map(({ out }) => (JSON.parse(out) as { key: string }).key)).size).toBe(2);
  });

  test('an engine behind a key is asked with it, and the config names the variable and not the key', async () => {
    const { url } = await startEngine(models('vllm', 'm'), 'upstream-secret');
    const refused = await init({ upstream: url });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('set UPSTREAM_API_KEY');
    const { code, path } = await init({ upstream: url, env: { UPSTREAM_API_KEY: 'upstream-secret' } });
    expect(code).toBe(0);
    expect(readFileSync(path, 'utf8')).not.toContain('upstream-secret');
    expect(loadWritten(path, { UPSTREAM_API_KEY: 'upstream-secret' }).config.deployments[0]?.upstreams[0]?.apiKey).toBe(
      'upstream-secret',
    );
  });

  test('a file of somebody beside it is left alone, whatever its name', async () => {
    const { url } = await startEngine(models('vllm', 'm'));
    const path = join(createFolder(), 'inferometer.yaml');
    writeFileSync(`${path}.draft`, 'my notes');
    expect((await init({ upstream: url, path })).code).toBe(0);
    expect(readFileSync(`${path}.draft`, 'utf8')).toBe('my notes');
  });

  test('an existing file is kept unless forced', async () => {
    const { url } = await startEngine(models('vllm', 'm'));
    const path = join(createFolder(), 'inferometer.yaml');
    writeFileSync(path, 'mine');
    const kept = await init({ upstream: url, path });
    expect(kept).toMatchObject({ code: 1, err: expect.stringContaining('exists already') });
    expect(readFileSync(path, 'utf8')).toBe('mine');
    expect((await init({ upstream: url, path, force: true })).code).toBe(0);
    expect(loadWritten(path).ok).toBe(true);
  });
});

describe('failures', () => {
  test('a second config in one folder is told that the key beside the first is in its way', async () => {
    const { url } = await startEngine(models('vllm', 'm'));
    const { path } = await init({ upstream: url });
    const second = await init({ upstream: url, path: join(dirname(path), 'second.yaml') });
    expect(second.code).toBe(1);
    expect(second.err).toContain('first-team.key exists already: write into another folder');
  });

  test.each(['a-secret\nkey', 'a-secret-käse', 'a-secret key'])(
    'a key that no header can hold (%j) is bad usage and never quoted',
    async (key) => {
      const { url, asked } = await startEngine(models('vllm', 'm'));
      const { code, err } = await init({ upstream: url, env: { UPSTREAM_API_KEY: key } });
      expect(code).toBe(2);
      expect(err).toBe('inferometer init: UPSTREAM_API_KEY: expected a key without spaces or control characters.\n');
      expect(asked).toEqual([]);
    },
  );

  test.each(['http://user:a-secret@127.0.0.1', 'http://127.0.0.1/?key=a-secret'])(
    'the password in %s is not quoted back',
    async (upstream) => {
      const { code, err } = await init({ upstream });
      expect(code).toBe(2);
      expect(err).toContain('without user, query and fragment');
      expect(err).not.toContain('a-secret');
    },
  );

  test('an engine that is still loading is told apart by its status, one that begins an answer and stalls by its silence', async () => {
    const loading = await startEngine({ 'GET /v1/models': 503 });
    expect((await init({ upstream: loading.url })).err).toContain('neither /v1/models (503)');
    const server = createServer((req, res) => {
      if (req.url === '/v1/models') res.writeHead(200).write('{"data":[');
      else res.writeHead(404).end();
    });
    const stalling = await listen(server);
    expect((await init({ upstream: stalling, probeTimeoutMs: 300 })).err).toContain(
      'neither /v1/models (no answer within 300 ms) nor /v2',
    );
  });

  test('an engine that does not answer is exit code 1, one clear line, and nothing written', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const { code, err, out, path } = await init({ upstream: `http://127.0.0.1:${port}` });
    expect(code).toBe(1);
    expect(err).toBe(`inferometer init: no engine answers at http://127.0.0.1:${port}: ECONNREFUSED.\n`);
    expect(out).toBe('');
    expect(existsSync(path)).toBe(false);
  });

  test('an engine that is silent is given up after the time limit', async () => {
    const server = createServer(() => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const { code, err } = await init({ upstream: `http://127.0.0.1:${port}`, probeTimeoutMs: 50 });
    expect(code).toBe(1);
    expect(err).toContain('no answer within 50 ms');
  });

  test('a server that is no engine, and an engine without models, say so', async () => {
    const web = await startEngine({ 'GET /health': 'fine' });
    expect((await init({ upstream: web.url })).err).toContain('neither /v1/models (404) nor /v2');
    const empty = await startEngine(models('vllm'));
    expect((await init({ upstream: empty.url })).err).toContain('serves no model yet');
  });

  test.each<[Partial<InitOptions>, string]>([
    [{ upstream: 'localhost:8000' }, '--upstream must be a URL'],
    [{ upstream: 'ftp://x' }, '--upstream must be a URL'],
    [{ gpus: '0' }, '--gpus: expected a number of GPUs above 0'],
    [{ gpus: 'four' }, '--gpus: expected a number of GPUs'],
    [{ usdPerGpuHour: '-1' }, '--usd-per-gpu-hour: expected dollars'],
    [{ usdPerGpuHour: '1.0000000001' }, '--usd-per-gpu-hour: expected dollars'],
    [{ gpu: '' }, '--gpu: expected a GPU name'],
    [{ fromLitellm: '/nowhere/litellm.yaml' }, '--from-litellm: cannot read /nowhere/litellm.yaml: ENOENT'],
  ])('%j is bad usage, exit code 2, before anything is asked', async (options, expected) => {
    const { url, asked } = await startEngine(models('vllm', 'm'));
    const { code, err, path } = await init({ upstream: url, ...options });
    expect(code).toBe(2);
    expect(err).toContain(expected);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
    expect(asked).toEqual([]);
    expect(existsSync(path)).toBe(false);
  });

  test('a folder that cannot be written leaves nothing behind', async () => {
    const { url } = await startEngine(models('vllm', 'm'));
    const folder = createFolder();
    writeFileSync(join(folder, 'file'), '');
    const { code, err } = await init({ upstream: url, path: join(folder, 'file', 'inferometer.yaml') });
    expect(code).toBe(1);
    expect(err).toContain('cannot write');
    expect(readdirSync(folder)).toEqual(['file']);
  });

  test('a folder that takes no others is a clear error, not an endless search', async () => {
    const { url } = await startEngine(models('vllm', 'm'));
    const { code, err } = await init({ upstream: url, path: '/proc/inferometer/inferometer.yaml' });
    expect(code).toBe(1);
    expect(err).toMatch(/^inferometer init: cannot write \/proc\/inferometer\/inferometer\.yaml: E[A-Z]+: .*\n$/);
  });

  test('a folder or a device in the place of the file is refused even with --force, and the old key stays', async () => {
    const { url, asked } = await startEngine(models('vllm', 'm'));
    const folder = createFolder();
    mkdirSync(join(folder, 'inferometer.yaml'));
    writeFileSync(join(folder, 'first-team.key'), 'old');
    for (const path of [join(folder, 'inferometer.yaml'), '/dev/null', folder]) {
      const { code, err } = await init({ upstream: url, path, force: true });
      expect(code).toBe(1);
      expect(err).toBe(`inferometer init: ${path} is no file: choose another with --config FILE.\n`);
    }
    expect(asked).toEqual([]);
    expect(readdirSync(folder).toSorted()).toEqual(['first-team.key', 'inferometer.yaml']);
    expect(readFileSync(join(folder, 'first-team.key'), 'utf8')).toBe('old');
  });
});
