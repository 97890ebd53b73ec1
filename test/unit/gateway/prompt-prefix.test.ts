import { describe, expect, it } from 'vitest';
import { estimateWork } from '#gateway/estimate-work.ts';
import { hashPromptPrefix } from '#gateway/prompt-prefix.ts';

const hash = (body: object | string, maxBytes = 64): number | null =>
  hashPromptPrefix(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), maxBytes);

const SYSTEM = { role: 'system', content: 'You answer questions about the annual report, briefly and with figures.' };

describe('the hash of a prompt’s beginning', () => {
  it('is equal for prompts that begin alike, whatever follows and whatever else the request says', () => {
    const one = hash({ model: 'm', temperature: 0.1, messages: [SYSTEM, { role: 'user', content: 'Revenue?' }] });
    const other = hash({
      messages: [SYSTEM, { role: 'user', content: 'Costs?' }],
      stream: true,
      model: 'm',
      user: 'u',
    });
    expect(one).toBe(other);
    expect(one).not.toBeNull();
  });

  it('differs where the prompts differ within the bytes looked at', () => {
    const one = hash({ messages: [SYSTEM, { role: 'user', content: 'Revenue?' }] }, 1024);
    const other = hash({ messages: [SYSTEM, { role: 'user', content: 'Costs?' }] }, 1024);
    expect(one).not.toBe(other);
  });

  it('reads prompts, inputs and a system text beside the messages', () => {
    expect(hash({ prompt: 'Once upon a time' })).not.toBeNull();
    expect(hash({ input: ['a', 'b'] })).not.toBeNull();
    const messages = [{ role: 'user', content: 'Hi' }];
    expect(hash({ system: 'Be kind.', messages })).toBe(hash({ messages, system: 'Be kind.' }));
    expect(hash({ system: 'Be kind.', messages })).not.toBe(hash({ system: 'Be rude.', messages }));
  });

  it('takes the last of two members with one name, as engines do', () => {
    expect(hash('{"prompt":"x","prompt":"y"}')).toBe(hash({ prompt: 'y' }));
  });

  it('is null where there is no prompt', () => {
    expect(hash({ model: 'm' })).toBeNull();
    expect(hash(' {} ')).toBeNull();
  });
});

describe('the estimate of work', () => {
  const request = { promptBytes: 4000, maxTokens: 100, sequences: 1, prefillOnly: false };

  it('is the prompt’s tokens and those asked for, for each sequence', () => {
    expect(estimateWork(request)).toBe(1101);
    expect(estimateWork({ ...request, sequences: 3 })).toBe(1301);
    expect(estimateWork({ ...request, prefillOnly: true })).toBe(1001);
  });

  it('does not believe in bounds far above what answers have, and guesses without one', () => {
    expect(estimateWork({ ...request, maxTokens: 1_000_000 })).toBe(2025);
    expect(estimateWork({ ...request, maxTokens: null })).toBe(1257);
    const work = estimateWork({ ...request, sequences: Number.MAX_SAFE_INTEGER });
    expect(300 + work - work).toBe(300);
  });

  it('is never zero', () => {
    expect(estimateWork({ promptBytes: 0, maxTokens: null, sequences: 1, prefillOnly: true })).toBe(1);
  });
});
