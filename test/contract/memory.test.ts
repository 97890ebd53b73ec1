// The books part of the contract on the double that unit tests use; its protocol part runs with the unit tests.
import { createMemoryRig } from '#test/support/memory-store-rig.ts';
import { describeLearnerStore } from './learner-store.case.ts';
import { describeSettledBooks } from './settled-books.case.ts';

describeSettledBooks(createMemoryRig());
describeLearnerStore(createMemoryRig());
