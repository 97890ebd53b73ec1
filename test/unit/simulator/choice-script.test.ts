// How long an answer is, what it says, and why it ends.
import { describe, expect, it } from 'vitest';
import { createChoiceScript } from '#simulator/choice-script.ts';
import type { ChoiceScript } from '#simulator/choice-script.ts';
import { parseInferenceRequest } from '#simulator/inference-request.ts';
import { countTokens } from '#simulator/pseudo-text.ts';

function scriptOf(fields: Record<string, unknown>, limits: { tokens?: number; defaultMaxTokens?: number } = {}) {
  const request = parseInferenceRequest('chat', {
    model: 'm',
    messages: [{ role: 'user', content: 'hello' }],
    ...fields,
  });
  const promptFingerprint = request.prompts[0]?.fingerprint ?? 0;
  return createChoiceScript(request, { promptFingerprint, choiceIndex: 0, seed: 1 }, limits);
}

function textOf(script: ChoiceScript): string {
  return Array.from({ length: script.tokens }, (_, index) => script.textAt(index)).join('');
}

describe('createChoiceScript', () => {
  it('ignore_eos with max_tokens pins the length exactly', () => {
    for (const max of [1, 17, 4000]) {
      expect(scriptOf({ max_tokens: max, ignore_eos: true })).toMatchObject({ tokens: max, endReason: 'length' });
    }
  });

  it('max_completion_tokens is the same limit', () => {
    expect(scriptOf({ max_completion_tokens: 2 }).tokens).toBe(2);
  });

  it('unlimited lengths differ by prompt around two hundred, are reproducible, and end with stop', () => {
    const lengths = Array.from({ length: 400 }, (_, index) =>
      scriptOf({ messages: [{ role: 'user', content: `prompt ${index}` }] }),
    );
    const mean = lengths.reduce((sum, script) => sum + script.tokens, 0) / lengths.length;
    expect(mean).toBeGreaterThan(180);
    expect(mean).toBeLessThan(220);
    expect(new Set(lengths.map((script) => script.tokens)).size).toBeGreaterThan(100);
    expect(new Set(lengths.map((script) => script.endReason))).toEqual(new Set(['stop']));
    expect(scriptOf({}).tokens).toBe(scriptOf({}).tokens);
    expect(textOf(scriptOf({ seed: 2, max_tokens: 9 }))).not.toBe(textOf(scriptOf({ seed: 3, max_tokens: 9 })));
  });

  it("a flavour's default limit cuts like one of the request", () => {
    expect(scriptOf({ min_tokens: 50 }, { defaultMaxTokens: 16 })).toMatchObject({ tokens: 16, endReason: 'length' });
  });

  it('the text of n tokens counts n tokens', () => {
    expect(countTokens(textOf(scriptOf({ max_tokens: 321, ignore_eos: true })))).toBe(321);
  });

  it('a stop string ends the answer before it, after the token that completes it', () => {
    const whole = textOf(scriptOf({ max_tokens: 50, ignore_eos: true }));
    const stop = whole.slice(42, 47);
    const script = scriptOf({ max_tokens: 50, ignore_eos: true, stop: [stop, 'never'] });
    const at = whole.indexOf(stop);
    expect(textOf(script)).toBe(whole.slice(0, at));
    expect(script.endReason).toBe('stop');
    expect(script.tokens).toBe(countTokens(whole.slice(0, at + stop.length)));
  });

  it('a call of a tool gives arguments that fit its schema, and a cut call ends by length', () => {
    const tools = [
      {
        type: 'function',
        function: {
          name: 'weather',
          parameters: {
            type: 'object',
            properties: { city: { type: 'string' }, days: { type: 'integer' }, unit: { enum: ['C', 'F'] } },
          },
        },
      },
    ];
    const script = scriptOf({ tools, tool_choice: 'required' });
    expect(script).toMatchObject({ toolName: 'weather', endReason: 'tool_calls' });
    expect(JSON.parse(textOf(script))).toEqual({
      city: expect.any(String),
      days: expect.any(Number),
      unit: expect.stringMatching(/^[CF]$/),
    });
    expect(scriptOf({ tools, tool_choice: 'required', max_tokens: 2 })).toMatchObject({
      tokens: 2,
      endReason: 'length',
    });
    expect(scriptOf({ tools }).toolName).toBeNull();
    const asked = [{ role: 'user', content: 'please call the tool now' }];
    expect(scriptOf({ tools, messages: asked }).toolName).toBe('weather');
    expect(scriptOf({ tools, messages: asked, tool_choice: 'none' }).toolName).toBeNull();
  });

  it('an answer that is to be JSON is an object of the schema and ends with it, or where its limit is', () => {
    const place = { type: 'object', properties: { city: { type: 'string' }, 'größe 🏙': { enum: ['klein', 'groß'] } } };
    const schema = {
      type: 'object',
      properties: { places: { type: 'array', items: place }, sure: { type: 'boolean' } },
    };
    const format = { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } } };
    const script = scriptOf({ ...format, ignore_eos: true });
    expect(script).toMatchObject({ toolName: null, endReason: 'stop' });
    expect(JSON.parse(textOf(script))).toEqual({
      places: [{ city: expect.any(String), 'größe 🏙': expect.stringMatching(/^(klein|groß)$/) }],
      sure: expect.any(Boolean),
    });
    expect(scriptOf({ ...format, max_tokens: 3 })).toMatchObject({ tokens: 3, endReason: 'length' });
    expect(textOf(scriptOf({ response_format: { type: 'json_object' } }))).toBe('{}');
    expect(textOf(scriptOf({ response_format: { type: 'text' } }))).not.toBe('{}');
  });

  it('a schema that nests without end gets an answer all the same', () => {
    let schema: object = { type: 'string' };
    for (let level = 0; level < 50_000; level += 1) schema = { type: 'object', properties: { a: schema } };
    const text = textOf(scriptOf({ response_format: { type: 'json_schema', json_schema: { schema } } }));
    expect(JSON.parse(text)).toHaveProperty('a.a.a.a');
    expect(text.length).toBeLessThan(200);
  });
});
