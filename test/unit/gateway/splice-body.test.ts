import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { spliceBody } from '#gateway/splice-body.ts';

const splice = (text: string, changes: { model?: string; includeUsage?: boolean }): string =>
  spliceBody(Buffer.from(text), {
    model: changes.model ?? null,
    includeUsage: changes.includeUsage ?? false,
  }).toString();

describe('splice-body', () => {
  it('the parsed result is the original plus include_usage and the served model, for any JSON body', () => {
    const streamOptions = fc.oneof(
      fc.constant(null),
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.record({ include_usage: fc.boolean(), continuous_usage_stats: fc.boolean() }, { requiredKeys: [] }),
    );
    const body = fc
      .tuple(fc.dictionary(fc.string(), fc.jsonValue()), fc.option(streamOptions, { nil: undefined }), fc.string())
      .map(([rest, stream_options, model]) => ({
        ...rest,
        model,
        ...(stream_options === undefined ? {} : { stream_options }),
      }));
    fc.assert(
      fc.property(body, fc.constantFrom(undefined, 1, '\t'), fc.string(), (original, indent, served) => {
        const spliced = JSON.parse(
          splice(JSON.stringify(original, null, indent), { model: served, includeUsage: true }),
        );
        const before = JSON.parse(JSON.stringify(original)) as Record<string, unknown>;
        const options = before['stream_options'] as object | null | undefined;
        expect(spliced).toEqual({ ...before, model: served, stream_options: { ...options, include_usage: true } });
      }),
    );
  });

  it.each([
    ['no options', '{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'],
    ['an empty object', '{"stream_options":{ }}', '{"stream_options":{"include_usage":true }}'],
    [
      'another option',
      '{"stream_options":{"a":[1,{"b":"}"}]}}',
      '{"stream_options":{"include_usage":true,"a":[1,{"b":"}"}]}}',
    ],
    [
      'a denial',
      '{"stream_options":{"include_usage" : false},"x":1}',
      '{"stream_options":{"include_usage" : true},"x":1}',
    ],
    ['null', ' {"stream_options": null }', ' {"stream_options": {"include_usage":true} }'],
    [
      'the name inside a text',
      '{"p":"\\"stream_options\\":{}"}',
      '{"stream_options":{"include_usage":true},"p":"\\"stream_options\\":{}"}',
    ],
    ['an escaped name', '{"stream\\u005foptions":{}}', '{"stream\\u005foptions":{"include_usage":true}}'],
    [
      'options deeper down',
      '{"a":{"stream_options":{}}}',
      '{"stream_options":{"include_usage":true},"a":{"stream_options":{}}}',
    ],
  ])('include_usage is set where it belongs: %s', (_name, before, after) => {
    expect(splice(before, { includeUsage: true })).toBe(after);
  });

  it('of two stream_options the last is edited, because it is the one that parsers keep', () => {
    const spliced = splice('{"stream_options":{"a":1},"stream_options":{"b":2}}', { includeUsage: true });
    expect(spliced).toBe('{"stream_options":{"a":1},"stream_options":{"include_usage":true,"b":2}}');
  });

  it('of two models both are replaced, so that no parser serves what is not metered', () => {
    expect(splice('{"model":"a","x":{"model":"c"},"model":"b"}', { model: 'served' })).toBe(
      '{"model":"served","x":{"model":"c"},"model":"served"}',
    );
  });

  it('a body without a model gets one, an empty object included', () => {
    expect(splice('{}', { model: 'served' })).toBe('{"model":"served"}');
    expect(splice('{"input":"x"}', { model: 'served' })).toBe('{"model":"served","input":"x"}');
  });

  it('a body with nothing to change is the same buffer', () => {
    const body = Buffer.from('{"model":"a"}');
    expect(spliceBody(body, { model: null, includeUsage: false })).toBe(body);
  });

  it('nesting a hundred thousand deep is walked without recursion', () => {
    const deep = `{"x":${'['.repeat(100_000)}${']'.repeat(100_000)},"model":"a"}`;
    expect(splice(deep, { model: 'b' }).endsWith('"model":"b"}')).toBe(true);
  });
});
