// `inferometer calibrate` as a user types it, against simulated engines whose coefficients are known.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '#config/load-config.ts';
import { type IterationCoefficients } from '#simulator/iteration-cost.ts';
import { startSimulator, type Simulator, type SimulatorOptions } from '#simulator/start-simulator.ts';
import { runCli } from '#test/support/run-cli.ts';

let dir: string;
let engines: Simulator[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'inferometer-calibrate-'));
  engines = [];
});
afterEach(async () => {
  for (const engine of engines) await engine.close();
  rmSync(dir, { recursive: true, force: true });
});

async function start(
  options: Partial<SimulatorOptions> & Pick<SimulatorOptions, 'flavor' | 'model'>,
): Promise<Simulator> {
  const engine = await startSimulator({ seed: 11, noiseCv: 0.04, networkOverheadMs: 5, ...options });
  engines.push(engine);
  return engine;
}

function writeConfig(engine: Simulator, options: { readonly engine: string; readonly model: string }): string {
  const path = join(dir, 'inferometer.yaml');
  writeFileSync(
    path,
    `# calibrated below
store: { url: "sqlite:${join(dir, 'books.db')}" }
prices: [{ name: p, gpu: H100-SXM, usdPerGpuHour: 2.50 }]
deployments:
  - name: under-test # the one
    models: [${options.model}]
    engine: ${options.engine}
    gpu: H100-SXM
    gpusPerReplica: ${engine.gpus}
    upstreams: [{ url: "${engine.url}", name: first }]
tenancy: { authentication: [keys], anonymous: all }
teams: [{ name: all }]
`,
  );
  return path;
}

const iterationMs = (of: IterationCoefficients, batch: number, context: number): number =>
  of.iterationMs + batch * (of.decodeStepMs + of.contextTokenMs * context);
const prefillMs = (of: IterationCoefficients, tokens: number): number =>
  of.iterationMs + of.prefillTokenMs * tokens + (of.prefillContextMs * tokens * tokens) / 2;

function expectNear(found: IterationCoefficients, truth: IterationCoefficients): void {
  for (const batch of [1, 8, 32])
    expect(
      Math.abs(iterationMs(found, batch, 1000) / iterationMs(truth, batch, 1000) - 1),
      `batch ${batch}`,
    ).toBeLessThan(0.05);
  for (const tokens of [1000, 8000])
    expect(Math.abs(prefillMs(found, tokens) / prefillMs(truth, tokens) - 1), `prompt of ${tokens}`).toBeLessThan(0.05);
}

describe('inferometer calibrate', () => {
  it('finds the coefficients of a vLLM engine and writes them into the config, comments kept', async () => {
    const engine = await start({ flavor: 'vllm', model: 'llama-3.1-8b' });
    const path = writeConfig(engine, { engine: 'vllm', model: 'llama-3.1-8b' });
    const beganAtMs = performance.now();
    const { code, out, err } = await runCli(['calibrate', '--config', path, '--json', '--write', '--duration', '20s'], {
      limitMs: 90_000,
    });
    expect(code, err + out).toBe(0);
    expect(performance.now() - beganAtMs).toBeLessThan(60_000);
    const answer = JSON.parse(out);
    expectNear(answer.profile, engine.profile);
    expect(answer).toMatchObject({
      accepted: true,
      reasons: [],
      deployment: 'under-test',
      upstream: 'first',
    });
    for (const term of Object.values(answer.terms) as { low: number; high: number; source: string }[]) {
      expect(term.source).toBe('measured');
      expect(term.high).toBeGreaterThan(term.low);
    }
    // The engine's limit is 2048; a machine that is late may blur the gaps it is read from.
    expect(Math.abs(answer.prefillTokensPerIteration / 2048 - 1)).toBeLessThan(0.2);
    // Tokenising and HTTP are no iteration: the simulator adds 5 ms, the sockets and timers a little.
    expect(answer.overheadMs.value).toBeGreaterThan(3);
    const text = readFileSync(path, 'utf8');
    for (const kept of ['# calibrated below', 'name: under-test # the one', '# measured by inferometer calibrate'])
      expect(text).toContain(kept);
    const loaded = loadConfig({ path, env: {} });
    expect(loaded.ok && loaded.config.deployments[0]?.engineProfile).toEqual(answer.profile);
    expect(loaded.ok && loaded.config.deployments[0]?.engineProfileOrigin?.source).toBe('calibrated');
  }, 120_000);

  it('finds the coefficients of a TensorRT-LLM engine on four GPUs and prints the lines to paste', async () => {
    const engine = await start({ flavor: 'trtllm', model: 'llama-3.1-70b' });
    const path = writeConfig(engine, { engine: 'tensorrt-llm', model: 'llama-3.1-70b' });
    const before = readFileSync(path, 'utf8');
    const { code, out, err } = await runCli(
      ['calibrate', '--config', path, '--deployment', 'under-test', '--duration', '26s'],
      { limitMs: 100_000 },
    );
    expect(code, err + out).toBe(0);
    const line = /engineProfile: (\{.*\})/.exec(out)?.[1] ?? '';
    const found = Object.fromEntries(
      [...line.matchAll(/(\w+): ([\d.e-]+)/g)].map(([, name, value]) => [name, Number(value)]),
    );
    expectNear(found as unknown as IterationCoefficients, engine.profile);
    expect(out).toMatch(/95 % interval/);
    expect(out).toMatch(/Fit error \d/);
    expect(readFileSync(path, 'utf8')).toBe(before);
  }, 120_000);

  it('refuses an engine whose metrics show others, before it sends anything, with exit 1', async () => {
    const engine = await start({ flavor: 'vllm', model: 'llama-3.1-8b' });
    const path = writeConfig(engine, { engine: 'vllm', model: 'llama-3.1-8b' });
    const stop = await keepBusy(engine, { streams: 2 });
    const { code, out, err } = await runCli(['calibrate', '--config', path, '--json']);
    expect(code).toBe(1);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(err).toContain('busy');
    expect(JSON.parse(out)).toMatchObject({ accepted: false, profile: null, config: null });
    expect(engine.truth().requests).toHaveLength(2);
    await stop();
  });

  it('refuses a busy engine that has no statistics to read, by how unsteadily it answers', async () => {
    const engine = await start({ flavor: 'trtllm', model: 'llama-3.1-70b' });
    const path = writeConfig(engine, { engine: 'tensorrt-llm', model: 'llama-3.1-70b' });
    const stop = await keepBusy(engine, { streams: 6 });
    const { code, out } = await runCli(['calibrate', '--config', path, '--json', '--write']);
    expect(code).toBe(1);
    expect(JSON.parse(out).reasons.join(' ')).toMatch(/varies by/);
    expect(readFileSync(path, 'utf8')).not.toContain('engineProfile');
    await stop();
  });

  it('--write into a config that cannot take the profile is refused before a request is sent', async () => {
    const engine = await start({ flavor: 'vllm', model: 'llama-3.1-8b' });
    const path = writeConfig(engine, { engine: 'vllm', model: 'llama-3.1-8b' });
    writeFileSync(path, readFileSync(path, 'utf8').replace('under-test # the one', 'under-test\n    engineProfile:'));
    const { code, err } = await runCli(['calibrate', '--config', path, '--write', '--duration', '5s']);
    expect(code).toBe(1);
    expect(err).toBe(
      'inferometer calibrate: engineProfile of under-test is an alias or has no terms: edit it by hand\n',
    );
    expect(engine.truth().requests).toEqual([]);
  });

  it('an engine named by its URL that speaks KServe is refused as one of the config is', async () => {
    const engine = await start({ flavor: 'kserve', model: 'llama-3.1-8b' });
    const { code, err } = await runCli(['calibrate', '--url', engine.url]);
    expect(code).toBe(2);
    expect(err).toContain("speaks KServe; calibrate needs OpenAI's routes");
  });

  it('a key that no header can hold is refused and never shown', async () => {
    const engine = await start({ flavor: 'vllm', model: 'llama-3.1-8b' });
    const env = { UPSTREAM_API_KEY: 'sk-canary\nof-a-key' };
    const { code, out, err } = await runCli(['calibrate', '--url', engine.url], { env });
    expect(code).toBe(2);
    expect(out + err).not.toContain('canary');
    expect(err).toContain('UPSTREAM_API_KEY: expected a key without spaces or control characters');
  });

  it('bad usage, an unknown deployment and a config that is wrong exit 2; an engine that is not there exits 1', async () => {
    const engine = await start({ flavor: 'vllm', model: 'llama-3.1-8b' });
    const path = writeConfig(engine, { engine: 'vllm', model: 'llama-3.1-8b' });
    for (const args of [
      ['--config', path, '--deployment', 'nope'],
      ['--config', path, '--upstream', 'nope'],
      ['--config', join(dir, 'missing.yaml')],
      ['--config', path, '--duration', 'soon'],
      ['--url', engine.url, '--write'],
      ['--url', 'not a url'],
      ['--url', `${engine.url}/?key=canary`],
      ['--config', path, '--model', 'llama-3.1-8b'],
      ['--config', path, '--gpus', '2'],
    ]) {
      const { code, err } = await runCli(['calibrate', ...args]);
      expect(code, args.join(' ')).toBe(2);
      expect(err.trim().split('\n'), err).toHaveLength(1);
      expect(err).not.toContain('canary');
    }
    await engine.close();
    engines = [];
    const { code, err } = await runCli(['calibrate', '--config', path]);
    expect(code).toBe(1);
    expect(err).toContain('no answer from the engine');
  });
});

/** Streams without end, as other people's; resolves when all of them decode. The function returned ends them. */
async function keepBusy(engine: Simulator, { streams }: { readonly streams: number }): Promise<() => Promise<void>> {
  const controller = new AbortController();
  const readers = await Promise.all(
    Array.from({ length: streams }, async (_, index) => {
      const response = await fetch(`${engine.url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          model: engine.truth().model,
          prompt: `busy ${index}`,
          max_tokens: 50_000,
          ignore_eos: true,
          stream: true,
        }),
        signal: controller.signal,
      });
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      expect((await reader.read()).done).toBe(false);
      return reader;
    }),
  );
  const drained = Promise.allSettled(
    readers.map(async (reader) => {
      while (!(await reader.read()).done);
    }),
  );
  return async () => {
    controller.abort();
    await drained;
  };
}
