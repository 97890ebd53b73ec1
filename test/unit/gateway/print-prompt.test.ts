// What a prompt's print tells, and what it must not.
import { assert, integer, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { printEdges } from '#domain/prompt-print.ts';
import { printPrompt } from '#gateway/print-prompt.ts';

const print = (body: object) => printPrompt(Buffer.from(JSON.stringify(body)));
const chat = (...texts: string[]) => texts.map((content) => ({ role: 'user', content }));
const LONG = 'The annual report says that revenue grew. '.repeat(400);

/** Marks in which two prints agree from the first on. */
function countShared(one: readonly number[], other: readonly number[]): number {
  const differs = one.findIndex((mark, index) => mark !== other[index]);
  return differs === -1 ? one.length : differs;
}

describe('the print of a prompt', () => {
  test('two prompts share exactly the marks of the blocks in which their bytes agree', () => {
    assert(
      property(integer({ min: 0, max: 16_000 }), string(), string(), (length, left, right) => {
        const texts = [left, right].map((tail) => `${LONG.slice(0, length)}${tail}${LONG}`);
        const [one, other] = texts.map((prompt) => print({ prompt })?.marks ?? []);
        const [a, b] = texts.map((text) => Buffer.from(JSON.stringify(text)));
        let common = 0;
        while (common < (a?.length ?? 0) && common < (b?.length ?? 0) && a?.[common] === b?.[common]) common += 1;
        const blocks = printEdges.filter((edge) => edge <= common).length;
        expect(countShared(one ?? [], other ?? [])).toBe(blocks);
      }),
      { numRuns: 60 },
    );
  });

  test('it is that of the prompt alone: neither order of members nor other fields change it', () => {
    const messages = chat(LONG, 'Revenue?');
    expect(print({ model: 'm', messages, system: 'Be kind.', stream: true })).toEqual(
      print({ system: 'Be kind.', temperature: 0, messages }),
    );
  });

  test('prompts behind which other words stand unseen, or whose caches are kept apart, share nothing', () => {
    const marks = (extra: object) => print({ input: LONG, ...extra })?.marks ?? [];
    for (const name of ['cache_salt', 'previous_response_id', 'conversation']) {
      expect(countShared(marks({ [name]: 'one' }), marks({ [name]: 'two' }))).toBe(0);
      expect(countShared(marks({ [name]: 'one' }), marks({}))).toBe(0);
    }
  });

  test('a body of any length has a bounded number of marks, and tells its whole length', () => {
    const huge = print({ prompt: LONG.repeat(200) });
    expect(huge?.bytes).toBe(LONG.length * 200 + 2);
    expect(huge?.marks.length).toBeLessThan(200);
    expect(huge?.marks.length).toBe(printEdges.length);
  });

  test('marks are whole numbers that a double holds, and none but the process that made them can compare them', async () => {
    const marks = print({ prompt: LONG })?.marks ?? [];
    expect(marks.every((mark) => Number.isSafeInteger(mark) && mark >= 0)).toBe(true);
    // Another load of the module is another process: it has another key.
    const again: string = '#gateway/print-prompt.ts?again';
    const other = (await import(again)) as { printPrompt: typeof printPrompt };
    expect(countShared(other.printPrompt(Buffer.from(JSON.stringify({ prompt: LONG })))?.marks ?? [], marks)).toBe(0);
  });

  test('a body without a prompt has none, one shorter than a block no marks', () => {
    expect(print({ model: 'm' })).toBeNull();
    expect(print({ prompt: 'Hi' })).toEqual({ marks: [], bytes: 4 });
  });
});
