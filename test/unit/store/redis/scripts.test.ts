// Headers of Lua files rot: each is compared with the script's body and with its binding.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScript, SCRIPTS, type ScriptName } from '#store/redis/scripts.ts';

const folder = new URL('../../../../src/store/redis/lua/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.lua'));
const read = (file: string) => readFileSync(new URL(file, folder), 'utf8');
const splitHeader = (text: string) => {
  const lines = text.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('--'));
  return { header: lines.slice(0, end).join('\n'), body: lines.slice(end).join('\n') };
};
/** Highest index of `KEYS[n]` or `ARGV[n]`; -1 without one. */
const highest = (text: string, array: 'KEYS' | 'ARGV') =>
  [...text.matchAll(new RegExp(`${array}\\[(\\d+)`, 'g'))].reduce(
    (most, [, index]) => Math.max(most, Number(index)),
    0,
  );

test('every script is bound once and every binding has its file', () => {
  const bound = Object.values(SCRIPTS).map(({ file }) => `${file}.lua`);
  expect(bound.toSorted()).toEqual(files.toSorted());
});

describe.each(Object.entries(SCRIPTS))('%s', (name, binding) => {
  const { header, body } = splitHeader(read(`${binding.file}.lua`));

  test('the header says purpose, returns and why it is atomic', () => {
    for (const word of ['Purpose', 'Returns', 'Atomic because'])
      expect(header).toMatch(new RegExp(`^-- ${word}: \\S`, 'm'));
  });

  test.each([
    ['KEYS', binding.keyCount, binding.moreKeys],
    ['ARGV', binding.argCount, binding.moreArgs],
  ] as const)('%s of header, body and binding agree', (array, count, hasMore) => {
    const described = [...header.matchAll(new RegExp(`^-- ${array}\\[(\\d+)(\\.\\.)?\\]`, 'gm'))];
    const fixed = described.filter(([, , dots]) => dots === undefined).map(([, index]) => Number(index));
    expect(fixed).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    const open = described.filter(([, , dots]) => dots !== undefined).map(([, index]) => Number(index));
    expect(open).toEqual(hasMore ? [count + 1] : []);
    expect(highest(body, array)).toBeLessThanOrEqual(count);
    for (let i = 1; i <= count; i += 1) {
      const isLooped = array === 'ARGV' && new RegExp(`for i = 1, \\d+ do\\n.*${array}\\[i\\]`).test(body);
      expect(isLooped || body.includes(`${array}[${i}]`), `${array}[${i}] is used`).toBe(true);
    }
  });

  test('its fragments come before it', () => {
    const text = loadScript(name as ScriptName);
    expect(text.endsWith(body)).toBe(true);
    const calls = [...body.matchAll(/\b(tickStore|readClockMs|readMember|buildReply|registerMember)\(/g)];
    for (const [, called] of calls) expect(text).toContain(`local function ${called}(`);
  });

  test('keys come in through KEYS, and no amount is a Lua number', () => {
    expect(body).not.toMatch(/\{s0\}/);
    expect(body).not.toMatch(/tonumber\([^)]*(?:NanoUsd|total|amount)/i);
    expect(body).not.toMatch(/INCRBYFLOAT/i);
  });
});
