// Whether Triton's counts hold the prompt. The facts are TensorRT-LLM's own: a reply that does not stream begins with the prompt unless the
// request or the model's configuration excludes it, and `num_output_tokens` counts what the reply holds.
import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { readStart, readReplyUsage, type CountingRequest, PLAIN_COUNTING } from '#gateway/triton-counts.ts';

const PROMPT = 'Tell me something of the sea';
const whole: CountingRequest = { ...PLAIN_COUNTING, streams: false, maxTokens: 100, promptStart: readStart(PROMPT) };
const counts = { inputTokens: 7, outputTokens: 27, isTensorrtLlm: true };
const saying =
  (text: string | null, outputIds: readonly number[] | null = null) =>
  () => ({ text, outputIds });
const echo = saying(`<s> ${PROMPT}, it said.`);
const plain = saying('It is wide.');

describe('output tokens', () => {
  it.each([
    ['the text begins with the prompt', whole, counts, echo, 20],
    ['the text does not', whole, counts, plain, 27],
    ['more than could be generated', { ...whole, maxTokens: 20 }, counts, plain, 20],
    ['each beam holds the prompt', { ...whole, beams: 2, maxTokens: 10 }, { ...counts, outputTokens: 34 }, plain, 20],
    ['the request excludes it', { ...whole, excludesInput: true }, counts, echo, 27],
    ['the request streams', { ...whole, streams: true }, counts, echo, 27],
    ['fewer than the prompt has', whole, { ...counts, outputTokens: 6 }, echo, 6],
    ['vLLM’s backend, whose text alone holds the prompt', whole, { ...counts, isTensorrtLlm: false }, echo, 27],
    ['nobody knows whose model', whole, { ...counts, isTensorrtLlm: null }, echo, 27],
    ['no text to tell by', whole, counts, saying(null), 27],
  ])('%s', (_name, request, reply, content, completion) => {
    expect(readReplyUsage(request, reply, content)).toMatchObject({ prompt: 7, completion });
  });

  it('tokens tell it exactly', () => {
    const request = { ...whole, promptStart: '', inputIds: [1, 15, 3], inputLength: 3 };
    const reply = { inputTokens: null, outputTokens: 5, isTensorrtLlm: true };
    expect(readReplyUsage(request, reply, saying(null, [1, 15, 3, 9, 9]))).toMatchObject({ prompt: 3, completion: 2 });
    expect(readReplyUsage(request, reply, saying(null, [1, 15, 4, 9, 9]))).toMatchObject({ prompt: 3, completion: 5 });
  });

  it('a reply that counts nothing says nothing', () => {
    const silent = { inputTokens: null, outputTokens: null, isTensorrtLlm: null };
    expect(readReplyUsage(whole, silent, echo)).toBeNull();
    expect(readReplyUsage(whole, { ...silent, inputTokens: 4 }, echo)).toMatchObject({ prompt: 4, completion: null });
  });

  test('the content is looked at only where the numbers leave it open', () => {
    const never = () => {
      throw new Error('was looked at');
    };
    for (const request of [
      { ...whole, streams: true },
      { ...whole, excludesInput: true },
      { ...whole, maxTokens: 20 },
    ])
      expect(readReplyUsage(request, counts, never)).not.toBeNull();
    expect(readReplyUsage(whole, { ...counts, outputTokens: 3 }, never)).toMatchObject({ completion: 3 });
  });

  test('whatever was generated, an echoed prompt is taken off and nothing else is', () => {
    const words = fc.array(fc.constantFrom(' sea', ' is', ' wide', '\n', ' <b>', ' and'), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(words, fc.boolean(), fc.integer({ min: 1, max: 3 }), (generated, echoes, beams) => {
        const request = { ...whole, beams };
        const text = `${echoes ? PROMPT : 'No.'}${generated.join('')}`;
        const made = generated.length * beams;
        const reply = { ...counts, outputTokens: made + (echoes ? 7 * beams : 0) };
        expect(readReplyUsage(request, reply, saying(text))?.completion).toBe(made);
      }),
    );
  });
});
