// Joining a store: the epoch is checked, the journal's numbering reconciled with what the store has, the pool facts stored.
// Not here: what follows once joined (sync-loop.ts).
import type { FactBook } from '#domain/pool-facts.ts';
import type { SyncReply } from '#domain/settlement.ts';
import { windowOf } from '#domain/window.ts';
import { storeFacts } from './change-facts.ts';
import type { WantedFacts } from './pool-facts-from-config.ts';
import { createGoodbye } from './message-log.ts';
import type { SyncLoop, SyncParts } from './sync-loop.ts';

export interface JoinOptions {
  readonly parts: SyncParts;
  readonly loop: SyncLoop;
  readonly wantedFacts: () => ReadonlyMap<string, WantedFacts>;
  /** Pools that the configuration lost and the store was not told of; emptied here (change-facts.ts, FactChange). */
  readonly leftPools?: Set<string> | undefined;
  /** Told the book in force after each time the facts were stored. */
  readonly onFacts?: ((book: FactBook) => void) | undefined;
  /** Epochs of the host's journals, this one's among them. */
  readonly hostEpochs: () => ReadonlySet<string>;
  /** Epoch ms of the last line of the run before; null in a new journal. */
  readonly lastAliveMs: number | null;
}

/**
 * True once this process is a member and its facts are stored; false while the store is unavailable, or for good when `loop` was stopped
 * (another epoch, a newer incarnation). Rejects with StoreSchemaError. Safe to repeat.
 */
export async function joinStore(options: JoinOptions): Promise<boolean> {
  const { parts, loop } = options;
  const { session, messages, journal } = parts;
  const identity = await session.call((store) => store.open());
  if (identity === null) return false;
  if (!belongsTo(options, identity.epoch)) {
    loop.stopForeign(identity.epoch);
    return false;
  }
  const reply = await session.callForReply((store) => store.join(journal.identity));
  if (reply === null) return false;
  if (reply.status === 'foreign') {
    loop.stopForeign(reply.epoch);
    return false;
  }
  if (reply.status === 'fenced') {
    loop.stopPosting('another process writes under the identity of this journal');
    return false;
  }
  const facts = await applyWantedFacts(options);
  if (facts === null) return false;
  if (!(await reconcile(options, reply))) return false;
  // A goodbye that an earlier run could not send is sent before there is work that the frontier could pass.
  if (messages.leavePending && !(await loop.sendPending())) return false;
  const nowWindow = windowOf(reply.nowMs);
  if (options.lastAliveMs !== null) parts.watch.addBlind(windowOf(options.lastAliveMs) + 1, nowWindow - 1);
  messages.joinAt(identity.epoch, Math.max(reply.frontier ?? 0, nowWindow - 1));
  // A death before the first message must not make the next run begin its windows later than this one did.
  journal.append({ t: 'head', atMs: parts.clock.epochMs(), head: messages.head });
  return true;
}

/** Brings the store's facts to what the configuration wants; the refusals, or null while the store is unavailable. */
export async function applyWantedFacts(
  options: Pick<JoinOptions, 'parts' | 'wantedFacts' | 'leftPools' | 'onFacts'>,
): Promise<{ readonly refusals: readonly string[]; readonly book: FactBook } | null> {
  const { session, journal, log } = options.parts;
  const wanted = options.wantedFacts();
  const left = new Set(options.leftPools);
  const result = await session.call((store) => storeFacts({ store, journal: journal.identity.journal, wanted, left }));
  for (const refusal of result?.refusals ?? []) log.error({ refusal }, 'a change of prices was refused');
  if (result !== null) {
    // Once: from now on others may have them.
    for (const pool of left) options.leftPools?.delete(pool);
    options.onFacts?.(result.book);
  }
  return result;
}

/** Asks whether a store that had lost this journal's books has them again, and creates nothing; true when posting may go on. */
export async function findBooksAgain(options: JoinOptions): Promise<boolean> {
  const { parts, loop } = options;
  const epoch = await parts.session.call((store) => store.readEpoch());
  if (epoch === null || !belongsTo(options, epoch)) return false;
  loop.resume();
  parts.watch.repeat(windowOf(parts.clock.epochMs()));
  return true;
}

/** A new journal belongs to the books of its host: begun in a store that lost them, others would leave no room for a rebuild. */
function belongsTo({ parts, hostEpochs }: JoinOptions, epoch: string): boolean {
  const own = parts.messages.head.epoch;
  if (own !== null) return epoch === own;
  const known = hostEpochs();
  return known.size === 0 || known.has(epoch);
}

/**
 * The store may know less than this journal: it lost writes, which sending again heals, or it forgot a member that left long ago, which joins
 * again under a new name. Or it knows more: the journal lost its tail. False: the store did not answer, or has to be joined again.
 */
async function reconcile(options: JoinOptions, reply: SyncReply): Promise<boolean> {
  const { parts } = options;
  const { messages, session, journal, clock, log } = parts;
  const { seq } = messages.head;
  if (reply.seq === seq) return true;
  if (reply.seq < seq) {
    if (messages.read(reply.seq + 1) !== null) {
      options.loop.takeJoin(reply);
      return true;
    }
    log.warn(
      { journal: seq, store: reply.seq },
      'the store has forgotten this journal; it joins again under a new identity',
    );
    const goodbye = createGoodbye(journal.identity, reply);
    if ((await session.callForReply((store) => store.sync(goodbye))) === null) return false;
    journal.renewIdentity();
    messages.beginAnew();
    journal.append({ t: 'head', atMs: clock.epochMs(), head: messages.head });
    return false;
  }
  const input = await session.call((store) => store.readFreezeInput());
  if (input === null) return false;
  log.error(
    { journal: seq, store: reply.seq },
    'the journal lost messages that the store has; what they sealed cannot be priced',
  );
  const own = input.members.find((member) => member.journal === journal.identity.journal);
  messages.skipTo(reply.seq, reply.hash, own?.sealedThrough ?? reply.frontier ?? 0);
  return true;
}
