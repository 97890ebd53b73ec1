// `prefillBy`: two deployments of one model, each with its own GPUs; what cannot be such a pair is refused with the reason.
import { expect, test } from 'vitest';
import { loadValid, MINIMAL, problemsOf, warningsOf } from './config-file.ts';

/** MINIMAL's `llama` with its prompts computed by `ctx`, on upstreams of its own. */
const pair = (upstreams = '[{ url: "http://ctx:8000" }]', change: (text: string) => string = (text) => text): string =>
  change(`${MINIMAL.trimEnd()}
    prefillBy: ctx
  - name: ctx
    models: [llama-8b]
    engine: vllm
    gpu: H100-SXM
    gpusPerReplica: 2
    upstreams: ${upstreams}
`);

test('the two know each other by name, and the one that is asked knows the pool of the other', () => {
  const config = loadValid(pair());
  expect(config.deployments.map(({ name, prefillBy, prefillsFor }) => ({ name, prefillBy, prefillsFor }))).toEqual([
    { name: 'llama', prefillBy: { pool: 'ctx/ctx:8000', deployment: 'ctx' }, prefillsFor: undefined },
    { name: 'ctx', prefillBy: undefined, prefillsFor: 'llama' },
  ]);
});

test('a configuration without it has neither key', () => {
  const [deployment] = loadValid(MINIMAL).deployments;
  expect(deployment).not.toHaveProperty('prefillBy');
  expect(deployment).not.toHaveProperty('prefillsFor');
});

test.each([
  '[{ url: "http://ctx:8000", replicas: 3 }]',
  '[{ url: "http://a:1", pool: ctx, replicas: 2 }, { url: "http://b:1", pool: ctx, replicas: 2 }]',
  '[{ url: "dns+http://ctx:8000", pool: ctx }]',
])('engines of one pool can compute prompts: %s', (upstreams) => {
  expect(loadValid(pair(upstreams)).deployments[0]?.prefillBy?.deployment).toBe('ctx');
});

test.each([
  ['an unknown name', pair().replace('prefillBy: ctx', 'prefillBy: nobody'), 'no deployment is named nobody'],
  ['itself', pair().replace('prefillBy: ctx', 'prefillBy: llama'), 'expected another deployment'],
  ['a chain', pair().replace('gpusPerReplica: 2', 'prefillBy: llama'), 'a chain is not possible'],
  ['several pools', pair('[{ url: "http://a:1" }, { url: "http://b:1" }]'), 'the front hides which of them'],
  ['addresses with GPUs of their own', pair('[{ url: "dns+http://ctx:8000" }]'), 'the front hides which of them'],
  [
    'one pool on both sides',
    pair().replaceAll('gpu: H100-SXM\n', 'gpu: H100-SXM\n    pool: p\n').replace('gpusPerReplica: 2', ''),
    'pool p is on both sides',
  ],
  ['work by duration there', pair().replace('gpusPerReplica: 2', 'work: duration'), 'ctx has work: duration'],
  [
    'work by duration here',
    pair().replace('prefillBy: ctx', 'prefillBy: ctx\n    work: duration'),
    'llama has work: duration',
  ],
  [
    'another model',
    pair().replace(/models: \[llama-8b\](?=\n.*\n.*\n {4}gpusPerReplica)/, 'models: [other]'),
    'ctx serves other, not llama-8b',
  ],
])('%s is refused', (_name, text, expected) => {
  const problems = problemsOf(text);
  expect(
    problems.some((problem) => problem.includes('prefillBy') && problem.includes(expected)),
    problems.join('\n'),
  ).toBe(true);
});

test('one that computes prompts for two is refused: whose cost would be whose', () => {
  const second =
    '  - { name: third, models: [llama-8b], engine: vllm, gpu: H100-SXM, prefillBy: ctx, upstreams: [{ url: "http://x:1" }] }\n';
  expect(problemsOf(pair() + second)).toEqual([expect.stringContaining('ctx computes the prompts of llama already')]);
});

test('the front may be the only URL that is reached of both: that is no warning', () => {
  expect(warningsOf(pair('[{ url: "http://127.0.0.1:8000" }]'))).toEqual([]);
});
