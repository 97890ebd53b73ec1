import { describe, expect, test } from 'vitest';
import { measureTexts, readAnswerTexts, StreamText } from '#gateway/answer-text.ts';
import type { RouteShape } from '#gateway/metered-routes.ts';

function readStream(shape: RouteShape, events: readonly unknown[]) {
  const text = new StreamText(shape);
  for (const event of events) text.add(event);
  return text.read();
}

const delta = (index: number, change: object) => ({ choices: [{ index, delta: change }] });

describe('streams', () => {
  test('chat: the pieces of each choice are one text, reasoning apart', () => {
    const events = [
      delta(0, { role: 'assistant', content: '' }),
      delta(0, { reasoning_content: 'hm', reasoning: 'hm' }),
      delta(0, { content: 'a' }),
      delta(1, { content: 'x' }),
      delta(0, { content: 'b' }),
      delta(1, { content: 'y' }),
      delta(0, { refusal: 'no' }),
    ];
    expect(readStream('chat', events)).toEqual({ output: ['ab', 'xy', 'no'], reasoning: ['hm'] });
  });

  test('chat: names and arguments of tool calls are output, call by call', () => {
    const call = (index: number, called: object) => delta(0, { tool_calls: [{ index, function: called }] });
    const events = [
      call(0, { name: 'weather ', arguments: '' }),
      call(0, { arguments: '{"t"' }),
      call(1, { name: 'time', arguments: '{}' }),
      call(0, { arguments: ':1}' }),
    ];
    expect(readStream('chat', events)?.output).toEqual(['weather {"t":1}', 'time{}']);
  });

  test.each<[RouteShape, readonly unknown[], object]>([
    [
      'completion',
      [{ choices: [{ index: 0, text: 'a' }] }, { choices: [{ index: 0, text: 'b' }] }],
      { output: ['ab'], reasoning: [] },
    ],
    [
      'response',
      [
        { type: 'response.reasoning_text.delta', output_index: 0, content_index: 0, delta: 'hm' },
        { type: 'response.output_text.delta', output_index: 1, content_index: 0, delta: 'a' },
        { type: 'response.function_call_arguments.delta', output_index: 2, delta: '{}' },
      ],
      { output: ['a', '{}'], reasoning: ['hm'] },
    ],
    [
      'message',
      [
        { index: 0, delta: { type: 'thinking_delta', thinking: 'hm' } },
        { index: 1, delta: { type: 'text_delta', text: 'a' } },
        { index: 2, delta: { type: 'input_json_delta', partial_json: '{}' } },
      ],
      { output: ['a', '{}'], reasoning: ['hm'] },
    ],
  ])('%s', (shape, events, texts) => {
    expect(readStream(shape, events)).toEqual(texts);
  });

  test('a text over the bound is not kept, and says so', () => {
    const text = new StreamText('chat');
    const piece = 'x'.repeat(400_000);
    for (let round = 0; round < 3; round += 1) text.add(delta(0, { content: piece }));
    expect(text.read()).toBeNull();
    text.add(delta(0, { content: 'more' }));
    expect(text.read()).toBeNull();
  });

  test('rubbish is no text', () => {
    for (const rubbish of [
      undefined,
      null,
      7,
      'x',
      [],
      { choices: 7 },
      { choices: [null, 7, { delta: { content: 7 } }] },
    ]) {
      expect(readStream('chat', [rubbish])).toEqual({ output: [], reasoning: [] });
    }
  });
});

describe('whole answers', () => {
  test.each<[string, unknown, object]>([
    [
      'chat',
      {
        choices: [
          { message: { content: 'a', reasoning: 'hm' } },
          { message: { content: null, tool_calls: [{ function: { name: 'f', arguments: '{}' } }] } },
        ],
      },
      { output: ['a', 'f', '{}'], reasoning: ['hm'] },
    ],
    ['completion', { choices: [{ text: 'a' }, { text: 'b' }] }, { output: ['a', 'b'], reasoning: [] }],
    [
      'Responses',
      {
        output: [
          { type: 'reasoning', content: [{ text: 'hm' }] },
          { type: 'message', content: [{ text: 'a' }] },
          { type: 'function_call', name: 'f', arguments: '{}' },
        ],
      },
      { output: ['a', '{}'], reasoning: ['hm'] },
    ],
    [
      'Anthropic',
      {
        content: [
          { type: 'thinking', thinking: 'hm' },
          { type: 'text', text: 'a' },
          { type: 'tool_use', input: { t: 1 } },
        ],
      },
      { output: ['a', '{"t":1}'], reasoning: ['hm'] },
    ],
  ])('%s', (_protocol, answer, texts) => {
    expect(readAnswerTexts(answer)).toEqual(texts);
  });

  test('an answer without any text is null, which is not zero bytes', () => {
    expect(readAnswerTexts({ data: [] })).toBeNull();
    expect(measureTexts(null)).toBeNull();
    expect(measureTexts({ output: ['ä'], reasoning: ['b'] })).toBe(3);
  });
});

describe('prompts that completions repeat (`echo`)', () => {
  const echo = { prompts: ['Once upon', 'Twice upon'], choicesPerPrompt: 2 };
  const choice = (index: number, text: string) => ({ index, text });
  const texts = ['Once upon a time', 'Once upon a hill', 'Twice upon a tree', 'a sea'];
  const generated = [' a time', ' a hill', ' a tree', 'a sea'];

  test('what was generated is counted without them, each choice by its own prompt, and all of it where none is repeated', () => {
    const answer = { choices: texts.map((text, index) => choice(index, text)) };
    expect(readAnswerTexts(answer, echo)?.output).toEqual(generated);
    expect(readAnswerTexts(answer)?.output).toEqual(texts);
  });

  test('in streams too, wherever their chunks are cut', () => {
    const text = new StreamText('completion', echo);
    for (const [index, whole] of texts.entries()) {
      for (const letter of whole) text.add({ choices: [choice(index, letter)] });
    }
    expect(text.read()?.output).toEqual(generated);
  });
});
