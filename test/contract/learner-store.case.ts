// The learner's document as both stores keep it (domain/learner-store.ts).
import { describe, expect } from 'vitest';
import { StoreRig, type StoreSuite } from './store-rig.ts';

/** Defines the tests of the learner's document for one store. */
export function describeLearnerStore(suite: StoreSuite): void {
  describe(`learner store: ${suite.name}`, () => {
    const rig = new StoreRig(suite);

    rig.guarantee('a new store has learned nothing', async () => {
      expect(await rig.learner.readLearned()).toEqual({ version: 0, text: '' });
    });

    rig.guarantee('what was learned is found by another process, byte for byte', async () => {
      const text = JSON.stringify({ é: [1e-7, 0.1, 12345.678901], '{s0}': 'ünïcode \u0000 \n' });
      expect(await rig.learner.putLearned(text, 0)).toBe('stored');
      const second = await suite.createSecondClient();
      await second.settlement.open();
      expect(await second.learner.readLearned()).toEqual({ version: 1, text });
      await second.settlement.close();
    });

    rig.guarantee('of two processes that learned from the same document only one is taken', async () => {
      expect(await rig.learner.putLearned('first', 0)).toBe('stored');
      expect(await rig.learner.putLearned('second', 0)).toBe('stale');
      expect(await rig.learner.putLearned('ahead', 7)).toBe('stale');
      expect(await rig.learner.readLearned()).toEqual({ version: 1, text: 'first' });
      expect(await rig.learner.putLearned('third', 1)).toBe('stored');
      expect(await rig.learner.readLearned()).toEqual({ version: 2, text: 'third' });
    });

    rig.guarantee('learning moves no frontier, no facts and no board', async () => {
      const before = await rig.settlement.readFreezeInput();
      await rig.learner.putLearned('text', 0);
      const after = await rig.settlement.readFreezeInput();
      expect({ ...after, nowMs: 0, members: [] }).toEqual({ ...before, nowMs: 0, members: [] });
    });
  });
}
