import { expect, test } from 'vitest';
import { loadValid, MINIMAL, problemsOf, warningsOf } from './config-file.ts';

const triton = (upstream: string): string =>
  MINIMAL.replace('vllm', 'triton').replace('url: "http://127.0.0.1:8000"', upstream);

test('gRPC has a port, a host and a limit for messages', () => {
  expect(loadValid(`${MINIMAL}grpc: { port: 8001 }\n`).grpc).toEqual({
    host: '0.0.0.0',
    port: 8001,
    maxMessageBytes: 67_108_864,
  });
  expect(loadValid(MINIMAL).grpc).toBeUndefined();
  expect(warningsOf(`${triton('url: "http://t:8000"')}grpc: { port: 8001, maxMessageBytes: 4096 }\n`)).toEqual([]);
});

test.each(['grpc://triton:8001', 'grpcs://[::1]:443'])('grpcUrl %s is taken as it stands', (url) => {
  const config = loadValid(triton(`url: "http://t:8000", grpcUrl: "${url}"`));
  expect(config.deployments[0]?.upstreams[0]?.grpcUrl).toBe(url);
});

test.each(['http://triton:8001', 'grpc://triton', 'grpc://triton:8001/path', 'grpc://triton:99999', 'grpc://u:p@t:1'])(
  'grpcUrl %s is refused',
  (url) => {
    expect(problemsOf(triton(`url: "http://t:8000", grpcUrl: "${url}"`))).toEqual([
      expect.stringContaining('grpcUrl: expected a URL such as grpc://triton:8001'),
    ]);
  },
);

test('a key has scopes and a deployment allows control only where the file says so', () => {
  const config = loadValid(
    `${MINIMAL.replace('key: 0123456789abcdef', 'key: 0123456789abcdef, scopes: [operator]')}    allowControl: [/v2/repository/models/*]\n`,
  );
  expect(config.teams[0]?.keys[0]?.scopes).toEqual(['operator']);
  expect(config.deployments[0]?.allowControl).toEqual(['/v2/repository/models/*']);
  const plain = loadValid(MINIMAL);
  expect(plain.teams[0]?.keys[0]?.scopes ?? []).toEqual([]);
  expect(plain.deployments[0]?.allowControl ?? []).toEqual([]);
});

test('an unknown scope and a glob that is no path are problems', () => {
  const text = `${MINIMAL.replace('key: 0123456789abcdef', 'key: 0123456789abcdef, scopes: [root]')}    allowControl: [shutdown]\n`;
  expect(problemsOf(text)).toEqual([
    expect.stringContaining('teams[0].keys[0].scopes[0]'),
    expect.stringContaining('deployments[0].allowControl[0]'),
  ]);
});
