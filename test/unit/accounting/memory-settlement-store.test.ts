// The double keeps every promise of the ports: the contract suite of the shipped stores runs on it too.
import { createMemoryState, MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { describeSettlementStore } from '../../contract/settlement-store.case.ts';

let state = { current: createMemoryState() };
let nowMs = 0;

const create = () => {
  const store = new MemorySettlementStore({ now: () => nowMs, state });
  return { settlement: store, books: store };
};

describeSettlementStore({
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
