import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { interpolate } from '#config/interpolate.ts';
import { parseYamlScalar, ScalarText, unwrapScalars } from '#config/scalar.ts';
import { loadValid, MINIMAL, problemsOf } from './config-file.ts';

describe('interpolate', () => {
  test.each([
    ['${A}', 'one'],
    ['x${A}y${B}z', 'xoneytwoz'],
    ['${MISSING:-fallback}', 'fallback'],
    ['${MISSING:-}', ''],
    ['${EMPTY:-fallback}', 'fallback'],
    ['${EMPTY}', ''],
    ['${A:-fallback}', 'one'],
    ['$${A}', '${A}'],
    ['$${A}${A}', '${A}one'],
    ['costs $5', 'costs $5'],
    ['${NESTED}', '${A}'],
    ['${MISSING:-a:b/c?d=e}', 'a:b/c?d=e'],
  ])('%s becomes %s', (text, expected) => {
    const env = { A: 'one', B: 'two', EMPTY: '', NESTED: '${A}' };
    expect(interpolate(text, env)).toMatchObject({ ok: true, text: expected });
  });

  test('every missing variable of one text is named', () => {
    const result = interpolate('${A}-${B}', {});
    expect(result).toMatchObject({
      ok: false,
      messages: [expect.stringContaining('A is not set'), expect.stringContaining('B is not set')],
    });
  });

  test.each(['${', '${A', '${A-b}', '${1A}', '${}', '${A:=b}'])('%s opens no variable and says so', (text) => {
    expect(interpolate(text, { A: 'one' })).toMatchObject({ ok: false, messages: [expect.stringContaining('$${')] });
  });

  test.each(['${A:-${B}}', '${MISSING:-x${B:-y}}', '${MISSING:-$${B}'])(
    '%s is refused, since a default ends at the first brace and would leave the rest as text',
    (text) => {
      expect(interpolate(text, { A: 'one', B: 'two' })).toMatchObject({
        ok: false,
        messages: [expect.stringContaining('holds a variable')],
      });
    },
  );

  test('a variable gives its value back unchanged, whatever stands in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        expect(interpolate('<${V}>', { V: value })).toEqual({ ok: true, text: `<${value}>`, usedVariable: true });
      }),
    );
  });
});

describe('values from variables', () => {
  test('are typed as YAML where the field wants a number or a flag, quoted or not', () => {
    const text = `${MINIMAL}
server:
  port: \${PORT}
  maxBodyBytes: "\${BYTES}"
  exposeUpstream: "\${EXPOSE:-false}"
  requestTimeout: "\${TIMEOUT}s"
`;
    expect(loadValid(text, { PORT: '9000', BYTES: '1024', TIMEOUT: '7' }).server).toMatchObject({
      port: 9000,
      maxBodyBytes: 1024,
      exposeUpstream: false,
      requestTimeoutMs: 7000,
    });
  });

  test('keep every digit where the field wants text: a key of digits stays that key', () => {
    const config = loadValid(MINIMAL.replace('key: 0123456789abcdef', 'key: "${KEY}"'), {
      KEY: '00123456789012345678901234567890',
    });
    expect(config.teams[0]?.keys[0]?.key).toBe('00123456789012345678901234567890');
  });

  test('an empty default leaves a text empty', () => {
    expect(loadValid(`${MINIMAL}\nadmin: { token: "\${TOKEN:-}" }\n`).admin.token).toBe('');
  });

  test('an unset variable is one problem at its own line, without consequences elsewhere', () => {
    expect(problemsOf(MINIMAL.replace('usdPerGpuHour: 2.50', 'usdPerGpuHour: "${PRICE}"'))).toEqual([
      '3 prices[0].usdPerGpuHour: environment variable PRICE is not set: set it, or give a default as ${PRICE:-default}',
    ]);
  });

  test('a variable in place of a section or a list is one problem', () => {
    expect(problemsOf(`${MINIMAL}\nserver: "\${NOPE}"\n`)).toHaveLength(1);
    expect(problemsOf(`${MINIMAL}\nserver: { port: 1 }\ntenancy: { authentication: "\${NOPE}" }\n`)).toHaveLength(1);
  });
});

test.each([
  ['12', 12],
  ['0x1F', 31],
  ['0o17', 15],
  ['1.5e3', 1500],
  ['.5', 0.5],
  ['true', true],
  ['False', false],
  ['~', null],
  ['', null],
  ['yes', 'yes'],
  ['1_000', '1_000'],
  ['2026-01-01', '2026-01-01'],
])('a plain scalar %s has its value by the core schema', (text, value) => {
  expect(parseYamlScalar(text)).toBe(value);
});

test('parts without schema come out as plain JSON', () => {
  const number = new ScalarText('1024', { confidential: false });
  expect(unwrapScalars({ max_tokens: number, stop: [number, 'x'], nested: { on: true } })).toEqual({
    max_tokens: 1024,
    stop: [1024, 'x'],
    nested: { on: true },
  });
});
