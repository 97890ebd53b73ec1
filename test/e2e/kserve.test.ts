// Triton's own protocol on the real product: HTTP and gRPC, tokens as the engine knows them, GPU time as it really was, books exact.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { findFreePort } from '#src/demo/free-port.ts';
import { startTestStack, type TestStack } from '#test/support/gateway.ts';
import { collectStream, connectKserve, startFakeTriton } from '#test/support/kserve-grpc.ts';

const CANARY = 'canary5e1d0c44aa97b3f8';

interface RecordJson {
  readonly requestId: string;
  readonly route: string;
  readonly outcome: string;
  readonly tokenSource: string;
  readonly gpuSeconds: number;
  readonly tokens: { readonly input: number | null; readonly output: number | null };
}

interface Report {
  readonly rows: readonly (TeamRow & { readonly requests: number })[];
  readonly totals: { readonly differenceNanoUsd: string };
}

let stack: TestStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

interface TeamRow {
  readonly team: string;
  readonly gpuSeconds: number;
}

function post(running: TestStack, path: string, body: unknown, team = 'search'): Promise<Response> {
  return fetch(`${running.gatewayUrl}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${running.keys[team]}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

it('generate, generate_stream and infer are charged the tokens the engine counts, in the shares of the GPU it knows, and no text is kept', async () => {
  stack = await startTestStack({
    engines: [{ flavor: 'kserve', name: 'llama-triton', models: ['llama', 'org/llama'] }],
    teams: ['search', 'ads'],
  });
  const running = stack;
  const serve = async (team: string, maxTokens: number): Promise<void> => {
    const request = { text_input: `${CANARY} tell me more`, max_tokens: maxTokens, ignore_eos: true };
    const whole = await post(running, '/v2/models/llama/generate', request, team);
    const answer = (await whole.json()) as Record<string, unknown>;
    expect(answer['text_output']).not.toBe('');
    expect(Object.keys(answer)).not.toContain('num_output_tokens');
    const stream = await post(running, '/v2/models/org%2Fllama/generate_stream', request, team);
    const events = await stream.text();
    expect(events.match(/^data: /gm)).toHaveLength(maxTokens);
    expect(events).not.toContain('num_output_tokens');
    const tensor = (name: string, datatype: string, data: unknown) => ({ name, datatype, shape: [1, 1], data: [data] });
    const inputs = [
      tensor('text_input', 'BYTES', request.text_input),
      tensor('max_tokens', 'INT32', maxTokens),
      tensor('ignore_eos', 'BOOL', true),
      tensor('return_num_output_tokens', 'BOOL', true),
    ];
    const inferred = (await (await post(running, '/v2/models/llama/versions/1/infer', { inputs }, team)).json()) as {
      outputs: { name: string; data: unknown[] }[];
    };
    expect(inferred.outputs.find(({ name }) => name === 'num_output_tokens')?.data).toEqual([maxTokens]);
  };
  const both = Array.from({ length: 4 }, () => [serve('search', 40), serve('ads', 160)]);
  await Promise.all(both.flat());
  await running.settled(Date.now());
  const truth = new Map(running.simulators[0]?.truth().requests.map((real) => [real.requestId, real]));
  const { requests } = await running.admin<{ requests: (RecordJson & TeamRow)[] }>('/api/requests?limit=100');
  expect(requests).toHaveLength(24);
  const real = { search: 0, ads: 0 };
  for (const record of requests) {
    const known = truth.get(record.requestId);
    expect(record).toMatchObject({ outcome: 'completed', tokenSource: 'reported' });
    expect(record.tokens).toMatchObject({ input: known?.promptTokens, output: known?.completionTokens });
    real[record.team as keyof typeof real] += known?.gpuTimeMs ?? 0;
  }
  expect(new Set(requests.map(({ route }) => route))).toEqual(
    new Set(['/v2/models/{m}/generate', '/v2/models/{m}/generate_stream', '/v2/models/{m}/infer']),
  );
  const report = await running.admin<Report>('/api/reports/chargeback?groupBy=team');
  expect(report.totals.differenceNanoUsd).toBe('0');
  const charged = Object.fromEntries(report.rows.map(({ team, gpuSeconds }) => [team, gpuSeconds]));
  const share = (charged['ads'] ?? 0) / ((charged['ads'] ?? 0) + (charged['search'] ?? 0));
  expect(Math.abs(share / (real.ads / (real.ads + real.search)) - 1)).toBeLessThan(0.05);
  for (const file of filesBelow(running.dataDir)) expect(readFileSync(file).includes(CANARY)).toBe(false);
}, 90_000);

it('calls and streams over gRPC stand in the same books as HTTP, and no text is kept', async () => {
  const answer = (id: unknown, isFinal: boolean) => ({
    model_name: 'ensemble',
    ...(id === undefined ? {} : { id }),
    parameters: { triton_final_response: { bool_param: isFinal } },
    outputs: [
      { name: 'num_input_tokens', datatype: 'INT32' },
      { name: 'num_output_tokens', datatype: 'INT32' },
    ],
    raw_output_contents: [Buffer.from([9, 0, 0, 0]), Buffer.from([2, 0, 0, 0])],
  });
  const triton = await startFakeTriton({
    infer: (call, respond) => respond(null, answer(call.request['id'], true)),
    stream(call) {
      call.on('data', (request) => {
        call.write({ infer_response: answer(request['id'], false) });
        call.write({ infer_response: answer(request['id'], true) });
      });
      call.on('end', () => call.end());
    },
  });
  const health = { url: `http://127.0.0.1:${triton.port}`, grpcUrl: `grpc://127.0.0.1:${triton.port}`, name: 'u0' };
  const port = await findFreePort();
  stack = await startTestStack({
    engines: [
      {
        flavor: 'kserve',
        name: 'llama-triton',
        models: ['llama'],
        deployment: { upstreams: [health], health: { interval: '1h' } },
      },
    ],
    config: { grpc: { host: '127.0.0.1', port } },
  });
  const running = stack;
  const client = connectKserve(port, running.keys['search'] ?? '');
  const request = {
    model_name: 'llama',
    inputs: [
      { name: 'text_input', datatype: 'BYTES', shape: [1, 1], contents: { bytes_contents: [Buffer.from(CANARY)] } },
      { name: 'return_num_output_tokens', datatype: 'BOOL', shape: [1, 1], contents: { bool_contents: [true] } },
    ],
  };
  const { error } = await client.call('ModelInfer', request);
  expect(error).toBeNull();
  const stream = client.stream();
  const done = collectStream(stream);
  stream.write({ ...request, id: 'a' });
  stream.write({ ...request, id: 'b' });
  stream.end();
  expect((await done).replies).toHaveLength(4);
  client.close();
  await running.settled(Date.now());
  const { requests } = await running.admin<{ requests: RecordJson[] }>('/api/requests?limit=100');
  expect(
    requests.map(({ route, tokens, outcome }) => [route.split('/').at(-1), tokens.output, outcome]).toSorted(),
  ).toEqual([
    ['ModelInfer', 2, 'completed'],
    ['ModelStreamInfer', 4, 'completed'],
    ['ModelStreamInfer', 4, 'completed'],
  ]);
  const report = await running.admin<Report>('/api/reports/chargeback');
  expect(report.totals.differenceNanoUsd).toBe('0');
  expect(report.rows.reduce((sum, row) => sum + row.requests, 0)).toBe(3);
  triton.close();
  for (const file of filesBelow(running.dataDir)) expect(readFileSync(file).includes(CANARY)).toBe(false);
}, 90_000);
