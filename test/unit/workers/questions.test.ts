// Questions between processes: each is answered once, or not at all in time, and nothing waits for ever.
import { describe, expect, it } from 'vitest';
import { QuestionDesk } from '#workers/questions.ts';
import type { Ask } from '#workers/worker-messages.ts';

function setUp() {
  const asked: Ask[] = [];
  const desk = new QuestionDesk((ask) => void asked.push(ask));
  return { asked, desk };
}

const NOTHING = { sought: null };

describe('questions to another process', () => {
  it('answers reach those who asked, in whatever order they come', async () => {
    const { asked, desk } = setUp();
    const first = desk.ask('unsettled', NOTHING, 5000);
    const second = desk.ask('metrics', { configReloadSuccessful: true }, 5000);
    for (const { id, kind } of asked.toReversed()) desk.take({ t: 'answer', id, value: [kind] });
    expect(await first).toEqual(['unsettled']);
    expect(await second).toEqual(['metrics']);
  });

  it('without an answer in time there is none, and a late one is dropped', async () => {
    const { asked, desk } = setUp();
    const answer = desk.ask('unsettled', NOTHING, 1);
    expect(await answer).toBeNull();
    desk.take({ t: 'answer', id: asked[0]?.id ?? 0, value: ['late'] });
    expect(await answer).toBeNull();
  });

  it('the end of the other process answers everything that waits', async () => {
    const { desk } = setUp();
    const answers = Promise.all([1, 2, 3].map(() => desk.ask('unsettled', NOTHING, 60_000)));
    desk.close();
    expect(await answers).toEqual([null, null, null]);
  });

  it('no more than a thousand wait at a time', async () => {
    const { asked, desk } = setUp();
    const answers = Array.from({ length: 1001 }, () => desk.ask('unsettled', NOTHING, 60_000));
    expect(asked).toHaveLength(1000);
    expect(await answers.at(-1)).toBeNull();
    desk.close();
  });
});
