// Takes up a journal where its last run stopped: what it holds comes back, what the death of that run cut is ended.
// Not here: reading the lines (journal-replay.ts), what an ended attempt says (interrupted.ts).
import { endInterrupted } from './interrupted.ts';
import { replayJournal } from './journal-replay.ts';
import type { SyncParts } from './sync-loop.ts';

/** Brings back what the journal holds; epoch ms of the last run's last line, or null. */
export function restoreRun(parts: SyncParts): number | null {
  const { journal, messages, registry, slices, estimates, clock, log } = parts;
  const replayed = replayJournal(journal, { registry, slices });
  messages.restore(replayed);
  journal.append({ t: 'head', atMs: clock.epochMs(), head: messages.head, replayFrom: journal.replayFrom });
  if (replayed.lastAliveMs === null) return null;
  const interrupted = endInterrupted(registry, { journal, estimates, lastAliveMs: replayed.lastAliveMs });
  const waiting = { records: registry.size, interrupted, messages: messages.pendingCount };
  log.info(waiting, 'the journal was replayed');
  return replayed.lastAliveMs;
}
