// The books part of the contract on the double that unit tests use; its protocol part runs with the unit tests.
import { createMemoryState, MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { describeSettledBooks } from './settled-books.case.ts';

let state = { current: createMemoryState() };
let nowMs = 0;

const create = () => {
  const store = new MemorySettlementStore({ now: () => nowMs, state });
  return { settlement: store, books: store };
};

describeSettledBooks({
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
});
