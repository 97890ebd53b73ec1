import { expect, test } from 'vitest';
import { loadValid, MINIMAL, problemsOf } from './config-file.ts';

test.each([
  ['dropFields: [user, model]', '12 deployments[0].dropFields[1]: model is what engines choose by'],
  [
    'defaults: { temperature: 0, model: gpt-4 }',
    '12 deployments[0].defaults.model: a request reaches this deployment by its model',
  ],
  ['defaults: { stream: true }', '12 deployments[0].defaults.stream: whether an answer streams is its client’s to say'],
  ['defaults: { stream_options: { include_usage: true } }', '12 deployments[0].defaults.stream_options: '],
])('%s is a problem at its own line', (rule, problem) => {
  expect(problemsOf(`${MINIMAL}    ${rule}\n`)).toEqual([expect.stringContaining(problem)]);
});

test('every one of them is named at once', () => {
  const rules = '    dropFields: [model]\n    defaults:\n      model: x\n      stream: true\n';
  expect(problemsOf(MINIMAL + rules).map((problem) => problem.slice(0, problem.indexOf(':')))).toEqual([
    '12 deployments[0].dropFields[0]',
    '14 deployments[0].defaults.model',
    '15 deployments[0].defaults.stream',
  ]);
});

test.each(['dropFields: [stream, stream_options, toString]', 'defaults: { max_tokens: 9, constructor: 1, Model: x }'])(
  '%s is allowed',
  (rule) => {
    expect(loadValid(`${MINIMAL}    ${rule}\n`).deployments).toHaveLength(1);
  },
);
