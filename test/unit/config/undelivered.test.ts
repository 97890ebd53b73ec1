import { expect, test } from 'vitest';
import { MINIMAL, warningsOf } from './config-file.ts';

const inDeployment = (line: string): string => `${MINIMAL}    ${line}\n`;
const atRoot = (line: string): string => `${MINIMAL}${line}\n`;
const inUpstream = (keys: string): string => MINIMAL.replace('8000" }', `8000", ${keys} }`);
const inTeam = (keys: string): string => MINIMAL.replace('name: search', `name: search, ${keys}`);

test.each([
  ['tenancy.authentication: jwt', atRoot('tenancy: { authentication: [keys, jwt] }')],
  ['teams[].budget', inTeam('budget: { usd: 5 }')],
  ['teams[].limits', inTeam('limits: { concurrency: 5 }')],
  ['teams[].reservedGpus', inTeam('reservedGpus: { llama: 1 }')],
])('%s gives one warning that names it', (key, text) => {
  expect(warningsOf(text)).toEqual([expect.stringContaining(`: ${key} is not part of this version yet: `)]);
});

test.each([
  ['several worker processes', atRoot('server: { workers: 2 }')],
  ['a default that is written out', atRoot('server: { workers: 1 }\nretention: { archive: data/archive }')],
  ['empty values', inDeployment('caps: {}\n    defaults: {}\n    dropFields: []\n    errors: passthrough')],
  ['a weight without a shared model name', inDeployment('weight: 3\n    priority: 2')],
  ['Triton and its gRPC', atRoot('grpc: { port: 8001 }').replace('vllm', 'triton')],
  ['a DCGM exporter and its GPUs', inUpstream('dcgm: "http://127.0.0.1:9400/metrics", gpus: [0, GPU-1]')],
  ['limits without any limit', inTeam('limits: {}')],
])('%s warns of nothing', (_what, text) => {
  expect(warningsOf(text)).toEqual([]);
});
