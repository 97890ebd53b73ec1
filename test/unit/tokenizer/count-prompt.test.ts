import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countPrompt, countTexts } from '#tokenizer/count-prompt.ts';
import { loadFixture, readExpected } from './fixture-tokenizers.ts';

const bpe = loadFixture('byte-level-bpe');
const chatml = loadFixture('unigram');
const bert = loadFixture('wordpiece');
const SHAPES = ['chat', 'completion', 'embedding', 'response', 'message', 'rerank'] as const;

const plain = (text: string): number => bpe.count(text, { addSpecialTokens: false });
const special = (text: string): number => bpe.count(text, { addSpecialTokens: true });
const user = (content: unknown) => ({ messages: [{ role: 'user', content }] });

describe('chat', () => {
  test.each(readExpected('byte-level-bpe').conversations)('$name counts as in transformers', (expected) => {
    const { messages, tools, extras, tokens } = expected;
    expect(countPrompt(bpe, { messages, tools, chat_template_kwargs: extras }, 'chat')).toBe(tokens);
  });

  test.each(readExpected('unigram').conversations)('$name counts as in transformers, ChatML', (expected) => {
    const { messages, tools, extras, tokens } = expected;
    expect(countPrompt(chatml, { messages, tools, chat_template_kwargs: extras }, 'chat')).toBe(tokens);
  });

  test('arguments of a tool call count the same as text, as OpenAI clients send them, and as an object', () => {
    const [, , , called] = readExpected('byte-level-bpe').conversations;
    const asText = JSON.parse(JSON.stringify(called?.messages), (key, value: unknown) =>
      key === 'arguments' ? JSON.stringify(value) : value,
    ) as unknown;
    expect(countPrompt(bpe, { messages: asText, tools: called?.tools }, 'chat')).toBe(called?.tokens);
  });

  test('parts of text count as their lines', () => {
    const parts = [
      { type: 'text', text: 'the quick' },
      { type: 'text', text: 'brown fox' },
    ];
    expect(countPrompt(bpe, user(parts), 'chat')).toBe(countPrompt(bpe, user('the quick\nbrown fox'), 'chat'));
  });

  test('an assistant turn to be continued gets no generation prompt', () => {
    const asked = countPrompt(bpe, user('fox'), 'chat') ?? 0;
    const continued = countPrompt(bpe, { ...user('fox'), continue_final_message: true }, 'chat');
    expect(continued).toBe(asked - plain('<|start_header_id|>assistant<|end_header_id|>\n\n'));
  });

  test('a model without a chat template gets the texts alone', () => {
    expect(countPrompt(bert, user('lazy dog'), 'chat')).toBe(bert.count('lazy dog', { addSpecialTokens: false }));
  });

  test.each([
    ['an image', user([{ type: 'image_url', image_url: { url: 'data:,' } }])],
    ['a template of the client', { ...user('fox'), chat_template: '{% for i in range(9999999) %}x{% endfor %}' }],
    ['no messages', {}],
    ['messages that are none', { messages: 'fox' }],
    ['a message that is none', { messages: [7] }],
    ['a call without a function', { messages: [{ role: 'assistant', tool_calls: [{}] }] }],
  ])('%s cannot be counted', (_what, body) => {
    expect(countPrompt(bpe, body, 'chat')).toBeNull();
  });

  test('a conversation that the template refuses cannot be counted', () => {
    expect(countPrompt(chatml, { messages: [{ role: 'wizard', content: 'fox' }] }, 'chat')).toBeNull();
  });
});

describe('completions and embeddings', () => {
  test.each(['completion', 'embedding'] as const)('%s: texts get their special tokens, lists are summed', (shape) => {
    const field = shape === 'completion' ? 'prompt' : 'input';
    expect(countPrompt(bpe, { [field]: 'the fox' }, shape)).toBe(special('the fox'));
    expect(countPrompt(bpe, { [field]: ['the fox', 'dog'] }, shape)).toBe(special('the fox') + special('dog'));
    expect(countPrompt(bpe, { [field]: 'the fox', add_special_tokens: false }, shape)).toBe(plain('the fox'));
  });

  test('the prompt of Triton’s generate routes is its text_input', () => {
    expect(countPrompt(bpe, { text_input: 'the fox', max_tokens: 4 }, 'completion')).toBe(special('the fox'));
  });

  test('token ids count themselves, in one list or in several', () => {
    expect(countPrompt(bpe, { prompt: [1, 2, 3] }, 'completion')).toBe(3);
    expect(countPrompt(bpe, { prompt: [[1, 2, 3], [4]] }, 'completion')).toBe(4);
    expect(countPrompt(bpe, { prompt: ['fox', [4, 5]] }, 'completion')).toBe(special('fox') + 2);
  });

  test.each([[[]], [[[]]], [[1, 'a']], [[1.5]], [null], [7], [{}]])('the prompt %j cannot be counted', (prompt) => {
    expect(countPrompt(bpe, { prompt }, 'completion')).toBeNull();
  });

  test('a prompt that the engine truncates counts what is left', () => {
    expect(countPrompt(bpe, { prompt: [1, 2, 3, 4], truncate_prompt_tokens: 3 }, 'completion')).toBe(3);
    expect(countPrompt(bpe, { prompt: [1, 2], truncate_prompt_tokens: 3 }, 'completion')).toBe(2);
    expect(countPrompt(bpe, { prompt: [1, 2], truncate_prompt_tokens: -1 }, 'completion')).toBe(2);
  });
});

describe('other protocols are counted as the chat they become', () => {
  const tool = { name: 'weather', description: 'now', parameters: { type: 'object' } };
  const chatTool = { type: 'function', function: tool };
  const call = { id: 'c1', type: 'function', function: { name: 'weather', arguments: { town: 'x' } } };
  const turns = [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'the fox' },
    { role: 'assistant', content: '', tool_calls: [call] },
    { role: 'tool', tool_call_id: 'c1', content: 'grey' },
  ];
  const chat = countPrompt(bpe, { messages: turns, tools: [chatTool] }, 'chat');

  test('Responses', () => {
    const input = [
      { role: 'user', content: [{ type: 'input_text', text: 'the fox' }] },
      { type: 'function_call', call_id: 'c1', name: 'weather', arguments: '{"town":"x"}' },
      { type: 'function_call_output', call_id: 'c1', output: 'grey' },
    ];
    const body = { instructions: 'Be kind.', input, tools: [{ type: 'function', ...tool }] };
    expect(chat).toBeGreaterThan(20);
    expect(countPrompt(bpe, body, 'response')).toBe(chat);
    expect(countPrompt(bpe, { input: 'the fox' }, 'response')).toBe(countPrompt(bpe, user('the fox'), 'chat'));
    expect(countPrompt(bpe, { ...body, previous_response_id: 'r' }, 'response')).toBeNull();
  });

  test('Anthropic messages', () => {
    const messages = [
      { role: 'user', content: 'the fox' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'c1', name: 'weather', input: { town: 'x' } }] },
      {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: 'c1', content: [{ type: 'text', text: 'grey' }] }],
      },
    ];
    const { parameters, ...described } = tool;
    const tools = [{ ...described, input_schema: parameters }];
    expect(countPrompt(bpe, { system: 'Be kind.', messages, tools }, 'message')).toBe(chat);
    const image = [{ role: 'user', content: [{ type: 'image', source: {} }] }];
    expect(countPrompt(bpe, { messages: image }, 'message')).toBeNull();
  });

  test('rerank pairs the query with every document', () => {
    const pair = (document: string): number => bert.count('fox', { addSpecialTokens: true, pair: document });
    const body = { query: 'fox', documents: ['the dog', { text: 'a quick fox' }] };
    expect(countPrompt(bert, body, 'rerank')).toBe(pair('the dog') + pair('a quick fox'));
    expect(countPrompt(bert, { ...body, documents: [{ image: 'x' }] }, 'rerank')).toBeNull();
  });
});

test('no request makes counting throw', () => {
  const keys = [
    'messages',
    'prompt',
    'input',
    'query',
    'documents',
    'system',
    'tools',
    'instructions',
    'chat_template_kwargs',
  ];
  const body = fc.dictionary(fc.constantFrom(...keys), fc.jsonValue());
  const message = fc.record(
    { role: fc.constantFrom('user', 'tool', '__proto__'), content: fc.jsonValue(), tool_calls: fc.jsonValue() },
    { requiredKeys: [] },
  );
  const chat = fc.record({
    messages: fc.array(message, { maxLength: 3 }),
    tools: fc.array(fc.jsonValue(), { maxLength: 2 }),
  });
  fc.assert(
    fc.property(fc.oneof(body, chat, fc.jsonValue()), fc.constantFrom(...SHAPES), (request, shape) => {
      const count = countPrompt(bpe, request, shape);
      expect(count === null || (Number.isSafeInteger(count) && count >= 0)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test('nesting deeper than the call stack is null, not a crash', () => {
  let deep: unknown = 'x';
  for (let level = 0; level < 50_000; level += 1) deep = [deep];
  expect(countPrompt(bpe, { messages: [{ role: 'user', content: 'hi' }], tools: [deep] }, 'chat')).toBeNull();
});

test('completion texts get no special tokens and are summed', () => {
  expect(countTexts(bpe, ['the fox', '', 'dog'])).toBe(plain('the fox') + plain('dog'));
  expect(countTexts(bert, ['fox'])).toBe(1);
});
