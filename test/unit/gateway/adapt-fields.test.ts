import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adaptFields, type FieldRules, hasFieldRules } from '#gateway/adapt-fields.ts';
import type { RouteShape } from '#gateway/metered-routes.ts';
import { readRequest } from '#gateway/parse-request.ts';
import { spliceBody } from '#gateway/splice-body.ts';

const rules = (change: Partial<FieldRules>): FieldRules => ({ dropFields: [], defaults: {}, caps: {}, ...change });
const adapt = (text: string, change: Partial<FieldRules>, shape: RouteShape = 'chat'): string => {
  const fields = JSON.parse(text) as Record<string, unknown>;
  const { changes } = adaptFields(fields, rules(change), shape);
  return spliceBody(Buffer.from(text), { model: null, includeUsage: false, fields: changes }).toString();
};

describe('adapt-fields', () => {
  it.each<[string, string, Partial<FieldRules>, string]>([
    ['the first field', '{ "a":1, "b": 2}', { dropFields: ['a'] }, '{ "b": 2}'],
    ['the last field', '{"a":1, "b": 2 }', { dropFields: ['b'] }, '{"a":1 }'],
    ['a field in the middle', '{"a":1,"b":2,"c":3}', { dropFields: ['b'] }, '{"a":1,"c":3}'],
    ['the last two', '{"a":1,"b":2,"c":3}', { dropFields: ['b', 'c'] }, '{"a":1}'],
    ['every second one', '{"a":1,"b":2,"c":3,"d":4}', { dropFields: ['b', 'd'] }, '{"a":1,"c":3}'],
    ['all of them', '{"a":1,"b":[{"a":1}]}', { dropFields: ['a', 'b'] }, '{}'],
    ['a repeated field', '{"a":1,"b":2,"a":3}', { dropFields: ['a'] }, '{"b":2}'],
    ['only at the top', '{"x":{"a":1}}', { dropFields: ['a'] }, '{"x":{"a":1}}'],
  ])('dropFields takes out %s and leaves every other byte', (_name, before, change, after) => {
    expect(adapt(before, change)).toBe(after);
  });

  it.each<[string, string, RouteShape, Readonly<Record<string, unknown>>, string]>([
    ['an absent field', '{"a":1}', 'chat', { temperature: 0.5 }, '{"temperature":0.5,"a":1}'],
    ['null', '{"temperature":null}', 'chat', { temperature: 0.5 }, '{"temperature":0.5}'],
    ['nothing the client sent', '{"temperature":0}', 'chat', { temperature: 0.5 }, '{"temperature":0}'],
    ['no second length', '{"max_completion_tokens":5}', 'chat', { max_tokens: 9 }, '{"max_completion_tokens":5}'],
    ['the name of Responses', '{}', 'response', { max_tokens: 9 }, '{"max_output_tokens":9}'],
    ['the name of completions', '{}', 'completion', { max_completion_tokens: 9 }, '{"max_tokens":9}'],
    ["chat's newer name", '{}', 'chat', { max_completion_tokens: 9 }, '{"max_completion_tokens":9}'],
    ['no generation on embeddings', '{}', 'embedding', { max_tokens: 9, dimensions: 8 }, '{"dimensions":8}'],
    ['whole objects', '{}', 'chat', { x: { y: [1, 'ü'] } }, '{"x":{"y":[1,"ü"]}}'],
  ])('defaults fill in for %s', (_name, before, shape, defaults, after) => {
    expect(adapt(before, { defaults }, shape)).toBe(after);
  });

  it.each<[string, string, Readonly<Record<string, number>>, string]>([
    ['max_tokens', '{"max_tokens": 9000 }', { maxTokens: 8192 }, '{"max_tokens": 8192 }'],
    ['max_completion_tokens', '{"max_completion_tokens":9e9}', { maxTokens: 8 }, '{"max_completion_tokens":8}'],
    ['max_output_tokens', '{"max_output_tokens":9}', { max_tokens: 8 }, '{"max_output_tokens":8}'],
    [
      'two names at once',
      '{"max_tokens":9,"max_completion_tokens":10}',
      { maxTokens: 8 },
      '{"max_tokens":8,"max_completion_tokens":8}',
    ],
    ['numbers in quotes', '{"n":"100"}', { n: 4 }, '{"n":4}'],
    ['both of a repeated field', '{"n":2,"n":9}', { n: 4 }, '{"n":4,"n":4}'],
    ['best_of', '{"best_of":9,"n":3}', { bestOf: 4, n: 4 }, '{"best_of":4,"n":3}'],
    ['nothing at or below', '{"n":4,"max_tokens":1}', { n: 4, maxTokens: 8 }, '{"n":4,"max_tokens":1}'],
    ['nothing left out', '{}', { n: 4, maxTokens: 8 }, '{}'],
    ['no text', '{"n":"many"}', { n: 4 }, '{"n":"many"}'],
  ])('caps lower %s', (_name, before, caps, after) => {
    expect(adapt(before, { caps })).toBe(after);
  });

  it('a default is held to its cap, and a dropped field can have one', () => {
    expect(adapt('{"n":7}', { dropFields: ['n'], defaults: { n: 9 }, caps: { n: 4 } })).toBe('{"n":4}');
  });

  it('what is metered is what the engine gets', () => {
    const change = rules({ dropFields: ['stream', 'best_of'], caps: { maxTokens: 8, n: 2 } });
    const fields = { model: 'm', stream: true, n: 5, best_of: 9, max_tokens: 100, prompt: ['a', 'b'] };
    expect(readRequest(adaptFields(fields, change, 'completion').fields, 'completion')).toMatchObject({
      stream: false,
      maxTokens: 8,
      sequences: 4,
    });
  });

  it('the bytes always parse to the changed fields, whatever the body and the rules', () => {
    const name = fc.constantFrom('a', 'n', 'max_tokens', 'max_completion_tokens', 'é"', 'stop', 'user');
    const body = fc.array(fc.tuple(name, fc.jsonValue()), { maxLength: 8 });
    const change = fc.record({
      dropFields: fc.uniqueArray(name),
      defaults: fc.dictionary(
        name,
        fc.jsonValue().filter((value) => value !== null),
      ),
      caps: fc.dictionary(name, fc.nat()),
    });
    fc.assert(
      fc.property(body, change, fc.constantFrom('', ' ', '\n\t'), (members, rule, space) => {
        const text = `${space}{${members.map(([key, value]) => `${space}${JSON.stringify(key)}${space}:${JSON.stringify(value)}${space}`).join(',')}}`;
        const fields = JSON.parse(text) as Record<string, unknown>;
        const adapted = adaptFields(fields, rule, 'chat');
        const spliced = spliceBody(Buffer.from(text), { model: null, includeUsage: false, fields: adapted.changes });
        // JSON has no negative zero.
        expect(JSON.parse(spliced.toString())).toEqual(JSON.parse(JSON.stringify(adapted.fields)));
      }),
    );
  });

  it('a deployment without rules is recognised without looking at the request', () => {
    expect(hasFieldRules(rules({}))).toBe(false);
    expect(
      [{ dropFields: ['a'] }, { defaults: { a: 1 } }, { caps: { n: 1 } }].map((one) => hasFieldRules(rules(one))),
    ).toEqual([true, true, true]);
  });
});
