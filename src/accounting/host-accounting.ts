// The accounting of one process among others on a host: a journal of its own below `journal.dir`, and those of dead processes that it adopts.
// Not here: how one journal is settled (create-accounting.ts), which orphans are taken (adopt-journals.ts).
import { JournalAdopter } from './adopt-journals.ts';
import { type Accounting, type AccountingOptions, createAccounting, type DrainResult } from './create-accounting.ts';
import { readHostEpochs } from './host-epochs.ts';
import { openFreeJournal } from './journal-slots.ts';

export interface HostAccountingOptions extends Omit<AccountingOptions, 'journalDir'> {
  /** `journal.dir`: every process of the host has a directory of its own below it. */
  readonly journalRoot: string;
  /** Time between looks for orphans; default 1000. */
  readonly adoptionIntervalMs?: number;
}

/** Adoptions under way at a drain may take this long. */
const ADOPTION_DRAIN_MS = 6000;

/**
 * Takes the first journal that nobody holds, or begins one, and adopts orphans from `start` on; figures and records of adopted journals stand
 * among its own. Throws the system's error when the directory cannot be written.
 */
export function createHostAccounting({ journalRoot, adoptionIntervalMs, ...given }: HostAccountingOptions): Accounting {
  const options = { ...given, hostEpochs: () => readHostEpochs(journalRoot) };
  const own = openFreeJournal(journalRoot, (journalDir) => createAccounting({ ...options, journalDir }));
  const adopter = new JournalAdopter({
    root: journalRoot,
    // What engines say of their GPUs is published once, by the process's own journal.
    open: (journalDir) => createAccounting({ ...options, activity: undefined, journalDir }),
    rollbacks: () => own.status().rollbacks,
    awaitsBooks: () => own.status().awaitsBooks,
    clock: options.clock,
    log: options.log,
    retentionMs: options.journalRetentionMs ?? 0,
    ...(adoptionIntervalMs === undefined ? {} : { intervalMs: adoptionIntervalMs }),
  });
  return {
    metering: own.metering,
    ready: own.ready,
    async start() {
      await own.start();
      adopter.start();
    },
    syncNow: () => own.syncNow(),
    writeProgress: () => own.writeProgress(),
    applyFacts: () => own.applyFacts(),
    reportHealth: (pool, healthy) => own.reportHealth(pool, healthy),
    async drain(timeoutMs): Promise<DrainResult> {
      const adopted = await adopter.stop(ADOPTION_DRAIN_MS);
      const left = await own.drain(timeoutMs);
      return {
        unsettledRecords: left.unsettledRecords + adopted.unsettledRecords,
        unsentMessages: left.unsentMessages + adopted.unsentMessages,
      };
    },
    stop() {
      adopter.abandon();
      own.stop();
    },
    status() {
      const status = own.status();
      const adopted = adopter.status();
      return {
        ...status,
        adoptedJournals: adopted.journals,
        journalPending: status.journalPending + adopted.unsentMessages,
        unsettledRecords: status.unsettledRecords + adopted.unsettledRecords,
        parkedRecords: status.parkedRecords + adopted.parkedRecords,
        lateCount: status.lateCount + adopted.lateCount,
      };
    },
    unsettled: (filter) => [...own.unsettled(filter), ...adopter.unsettled(filter)],
  };
}
