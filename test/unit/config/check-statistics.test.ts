import { expect, test } from 'vitest';
import { MINIMAL, warningsOf } from './config-file.ts';

const TRTLLM = `${MINIMAL.replace('vllm', 'tensorrt-llm')}    engineStatistics: true\n`;
const inUpstream = (keys: string): string => TRTLLM.replace('8000" }', `8000", ${keys} }`);

test('statistics that can be had are no reason to warn', () => {
  expect(warningsOf(TRTLLM)).toEqual([]);
  expect(warningsOf(inUpstream('dcgm: "http://127.0.0.1:9400/metrics", gpus: [0]'))).toEqual([]);
});

test.each([
  ['an engine that keeps none', TRTLLM.replace('tensorrt-llm', 'vllm'), 'keeps no statistics per iteration'],
  ['a URL that hides several engines', inUpstream('replicas: 2'), 'the URL hides 2 engines'],
  ['GPUs without an exporter', inUpstream('gpus: [0]'), 'has no effect without dcgm'],
])('%s gives one warning', (_what, text, words) => {
  expect(warningsOf(text)).toEqual([expect.stringContaining(words)]);
});
