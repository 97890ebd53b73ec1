import { expect, test } from 'vitest';
import { loadValid, MINIMAL, problemsOf } from './config-file.ts';

const withEngine = (engine: string): string =>
  `${MINIMAL}    continuousUsage: true\n`.replace('engine: vllm', `engine: ${engine}`);

test.each(['tensorrt-llm', 'vllm', 'nim', 'dynamo', 'openai'])('%s may be asked for running counts', (engine) => {
  expect(loadValid(withEngine(engine)).deployments[0]?.continuousUsage).toBe(true);
});

test.each(['triton-openai', 'tgi', 'transformers'])('%s has none, and the file is told so', (engine) => {
  expect(problemsOf(withEngine(engine))).toEqual([
    expect.stringContaining(`${engine} sends no running counts: expected false`),
  ]);
});

test('running counts are off unless asked for', () => {
  expect(loadValid(MINIMAL).deployments[0]?.continuousUsage).toBeUndefined();
});
