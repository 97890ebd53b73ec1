// The memory store as the contract suites want it: a fresh one per test, a clock of its own.
import type { StoreSuite } from '#test/contract/store-rig.ts';
import { createMemoryState, MemorySettlementStore } from './memory-settlement-store.ts';

/** Everything but the suite itself; each call has its own state. */
export function createMemoryRig(): StoreSuite {
  let state = { current: createMemoryState() };
  let nowMs = 0;
  const create = () => {
    const store = new MemorySettlementStore({ now: () => nowMs, state });
    return { settlement: store, books: store, learner: store };
  };
  return {
    name: 'memory',
    createStore: async () => {
      state = { current: createMemoryState() };
      nowMs = Date.now();
      return create();
    },
    createSecondClient: async () => create(),
    raiseSchema: async () => {
      state.current.schema = 99;
    },
    advanceMs: (ms) => {
      nowMs += ms;
    },
    skip: [],
  };
}
