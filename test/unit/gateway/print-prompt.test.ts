// What a prompt's print tells, and what it must not.
import { assert, integer, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PrefixMemory } from '#accounting/prefix-memory.ts';
import { printEdges } from '#domain/prompt-print.ts';
import { printPrompt } from '#gateway/print-prompt.ts';
import { blockTokens, createPseudoText, PromptDigest } from '#simulator/pseudo-text.ts';

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
    expect(print({ prompt: LONG.repeat(400) })).toBeNull();
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

interface Message {
  readonly role: string;
  readonly content: string;
}

/** Full blocks of a chat's tokens, as the simulated engine fingerprints them. */
function digest(messages: readonly Message[]): PromptDigest {
  const prompt = new PromptDigest();
  for (const { role, content } of messages) {
    prompt.appendText(role);
    prompt.appendText(content);
  }
  return prompt;
}

const talk = (system: string, ...turns: string[]): readonly Message[] => [
  { role: 'system', content: system },
  ...turns.map((content, index) => ({ role: index % 2 === 0 ? 'user' : 'assistant', content })),
];

describe('tokens that two chats share, told by their bytes', () => {
  const system = createPseudoText(600, 1);
  const document = createPseudoText(3000, 2);
  const cases = {
    'the same system text': [talk(system, createPseudoText(200, 3)), talk(system, createPseudoText(300, 4))],
    'a document asked about twice': [
      talk(system, `${document} ${createPseudoText(30, 5)}`),
      talk(system, `${document} ${createPseudoText(40, 6)}`),
    ],
    'the next turn of a chat': [
      talk(system, document),
      talk(system, document, createPseudoText(100, 7), createPseudoText(50, 8)),
    ],
    nothing: [talk(createPseudoText(600, 9), 'Hi'), talk(createPseudoText(600, 10), 'Hi')],
  } as const;

  test.each(Object.entries(cases))('%s: as many as the engine finds, to within a few blocks', (_, [earlier, later]) => {
    const [before, after] = [digest(earlier), digest(later)];
    const known = new Set(before.blockFingerprints());
    const matching = after.blockFingerprints().findIndex((block) => !known.has(block));
    const shared = matching * blockTokens;
    const memory = new PrefixMemory();
    const uses = [earlier, later].map((messages, index) => {
      const use = memory.begin({
        pool: 'p',
        deployment: 'd',
        print: printPrompt(Buffer.from(JSON.stringify({ model: 'm', messages, max_tokens: index }))),
        estimatedPromptTokens: 1000,
        stream: true,
      });
      use?.firstToken(1000 * index);
      return use;
    });
    const expected = (uses[1]?.seen(Infinity, 999)?.part ?? 0) * after.tokens;
    expect(matching).toBeGreaterThanOrEqual(0);
    expect(expected).toBeLessThanOrEqual(shared + 2 * blockTokens);
    expect(expected).toBeGreaterThanOrEqual(Math.min(0.96 * shared, shared - 2 * blockTokens));
  });
});
