import { afterEach, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '#simulator/start-simulator.ts';

let simulator: Simulator | undefined;

afterEach(async () => {
  await simulator?.close();
});

async function start(noUsage = false): Promise<string> {
  simulator = await startSimulator({ flavor: 'kserve', model: 'llama-3.1-8b', seed: 1, noUsage });
  return simulator.url;
}

async function ask(url: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
  const response = await fetch(url + path, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
  return { status: response.status, text: await response.text() };
}

const MODEL = '/v2/models/llama-3.1-8b';
const REQUEST = { text_input: 'one two three', max_tokens: 4, ignore_eos: true };
const COUNTS = { return_num_input_tokens: true, return_num_output_tokens: true };

test('counts come only where they are asked for, once per reply', async () => {
  const url = await start();
  expect(JSON.parse((await ask(url, `${MODEL}/generate`, REQUEST)).text)).not.toHaveProperty('num_output_tokens');
  const counted = await ask(url, `${MODEL}/generate`, { ...REQUEST, ...COUNTS });
  expect(JSON.parse(counted.text)).toMatchObject({ model_name: 'llama-3.1-8b', num_output_tokens: 4 });
  const stream = await ask(url, `${MODEL}/versions/1/generate_stream`, {
    text_input: 'a',
    parameters: { max_tokens: 3, ignore_eos: true, ...COUNTS },
  });
  const events = stream.text.split('\n\n').filter((event) => event !== '');
  expect(
    events.map((event) => (JSON.parse(event.slice(6)) as { num_output_tokens: number }).num_output_tokens),
  ).toEqual([1, 1, 1]);
});

test('a model without counts has no such inputs and refuses them as Triton does', async () => {
  const url = await start(true);
  const names = (JSON.parse((await ask(url, MODEL)).text) as { inputs: { name: string }[] }).inputs.map(
    ({ name }) => name,
  );
  expect(names).toContain('text_input');
  expect(names).not.toContain('return_num_output_tokens');
  expect(await ask(url, `${MODEL}/generate`, { ...REQUEST, return_num_output_tokens: true })).toEqual({
    status: 400,
    text: `{"error":"unexpected inference input 'return_num_output_tokens' for model 'llama-3.1-8b'"}`,
  });
});

test.each([
  ['/v2', 200],
  ['/v2/health/live', 200],
  ['/v2/health/ready', 200],
  [`${MODEL}/ready`, 200],
  [`${MODEL}/config`, 200],
  [`${MODEL}/stats`, 200],
  ['/v2/models/other', 404],
  [`${MODEL}/generate`, 405],
  ['/v1/models', 404],
])('GET %s answers %i', async (path, status) => {
  expect((await ask(await start(), path)).status).toBe(status);
});

test('an engine that is not ready says 400, and its index says so too', async () => {
  const url = await start();
  simulator?.setReady(false);
  expect((await ask(url, '/v2/health/ready')).status).toBe(400);
  expect(JSON.parse((await ask(url, '/v2/repository/index', {})).text)).toMatchObject([{ state: 'UNAVAILABLE' }]);
});
