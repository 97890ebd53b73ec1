// The double keeps every promise of the ports: the contract suite of the shipped stores runs on it too.
import { createMemoryRig } from '#test/support/memory-store-rig.ts';
import { describeSettlementStore } from '../../contract/settlement-store.case.ts';

describeSettlementStore(createMemoryRig());
