// The settlement protocol on SQLite: each method is one transaction (shared/design/settlement.md). Runs in the worker thread.
import type { FactBook } from '#domain/pool-facts.ts';
import type { MessageText } from '#domain/message-text.ts';
import type { Claim, FreezeCommit, FreezeInput, Publication, SyncMessage, SyncReply } from '#domain/settlement.ts';
import { hourOf, windowOf } from '#domain/window.ts';
import { claimBalances } from '../check-claim.ts';
import { mergeBlind } from '../member-blind.ts';
import {
  BOARD_WINDOWS_PER_READ,
  CHAIN_KEPT,
  FUTURE_SECONDS,
  HASHES_PER_JOURNAL,
  type StoreRetention,
} from '../store-options.ts';
import { addToBooks, applyClaim, expireRows } from './sqlite-ledger.ts';
import {
  buildReply,
  readLiveMembers,
  readMember,
  readStore,
  registerMember,
  tickStore,
  writeBoardState,
  writeMember,
  type MemberState,
  type StoreState,
} from './sqlite-members.ts';
import type { Statements } from './statements.ts';

const READ_MESSAGE = 'SELECT hash, claim_applied, late_count FROM messages WHERE journal = ? AND seq = ?';
const ADD_MESSAGE = 'INSERT INTO messages (journal, seq, hash, claim_applied, late_count) VALUES (?, ?, ?, ?, ?)';
const TRIM_MESSAGES = 'DELETE FROM messages WHERE journal = ? AND seq <= ?';
const ADD_PUBLICATION = 'INSERT OR IGNORE INTO board (window, journal, pool, publication) VALUES (?, ?, ?, ?)';
const ADD_HEALTH = 'INSERT OR REPLACE INTO health (journal, pool, window, healthy) VALUES (?, ?, ?, ?)';
const READ_CHAIN = 'SELECT hash FROM freezes WHERE k = ?';
const SUM_SHARES = 'SELECT coalesce(sum(total_nano_usd), 0) AS due FROM shares WHERE journal = ? AND k > ? AND k <= ?';
const DROP_SHARES = 'DELETE FROM shares WHERE journal = ? AND k <= ?';
const READ_BOARD_BEYOND = 'SELECT DISTINCT window FROM board WHERE window > ? ORDER BY window LIMIT 1 OFFSET ?';
const READ_BOARD = `SELECT journal, publication FROM board WHERE window > ? AND window <= ?
  ORDER BY window, journal, pool`;
const READ_HEALTH = 'SELECT journal, pool, window, healthy FROM health ORDER BY journal, pool, window';
const READ_FACTS = 'SELECT facts_version, facts FROM store WHERE id = 1';
const WRITE_FACTS = 'UPDATE store SET facts = ?, facts_version = facts_version + 1 WHERE id = 1 AND facts_version = ?';
const ADD_SHARE = 'INSERT INTO shares (journal, k, total_nano_usd, entry) VALUES (?, ?, ?, ?)';
const ADD_FREEZE = 'INSERT INTO freezes (k, hash) VALUES (?, ?)';
const ADD_DIGEST = 'INSERT INTO freeze_digests (k, hour, digest) VALUES (?, ?, ?)';
const ADD_FREEZE_HOUR = 'INSERT OR IGNORE INTO freeze_hours (hour, first_k, previous_hash) VALUES (?, ?, ?)';
const MOVE_FRONTIER = 'UPDATE store SET frontier = ?, freeze_count = ?, freeze_hash = ? WHERE id = 1';
const CLEAR_BOARD = 'DELETE FROM board WHERE window <= ?';
const TRIM_HEALTH = `DELETE FROM health WHERE window < (SELECT max(later.window) FROM health AS later
  WHERE later.journal = health.journal AND later.pool = health.pool AND later.window <= ?)`;
// The oldest freeze a claim may still name: behind it every live member has claimed, or owed nothing.
const TRIM_CHAIN = `DELETE FROM freezes WHERE k < max(?, (SELECT coalesce(min(claimed), 0) FROM members
  WHERE state = 'live' OR EXISTS (SELECT 1 FROM shares WHERE shares.journal = members.journal)))`;
const DROP_MEMBER = "UPDATE members SET state = 'dropped' WHERE journal = ? AND state = 'live'";

interface WrittenMessage {
  readonly message: SyncMessage;
  readonly text: MessageText;
}

/** See SettlementStore for what each method promises. `nowMs` is the store's clock, given by the worker. */
export class SqliteSettlement {
  readonly #statements: Statements;
  readonly #retention: StoreRetention;

  constructor(statements: Statements, retention: StoreRetention) {
    this.#statements = statements;
    this.#retention = retention;
  }

  join(author: { journal: string; incarnation: number }, nowMs: number): SyncReply {
    return this.#statements.transact(() => {
      const store = tickStore(this.#statements, nowMs);
      const known = readMember(this.#statements, author.journal);
      if (store.epoch === '') return this.#reply('foreign', store, known ?? null);
      if (known !== undefined && author.incarnation < known.incarnation) return this.#reply('fenced', store, known);
      const member = known ?? registerMember(this.#statements, store, { ...author, by: 'join' });
      if (member.state !== 'live') reviveMember(store, member);
      member.incarnation = author.incarnation;
      hear(store, member);
      writeMember(this.#statements, member);
      writeBoardState(this.#statements, store);
      return this.#reply('ok', store, member);
    });
  }

  /** The message is read without its records: those are kept as they are written. */
  sync(text: MessageText, nowMs: number): SyncReply {
    const message = JSON.parse(text.shell.join('')) as SyncMessage;
    return this.#statements.transact(() => {
      const store = tickStore(this.#statements, nowMs);
      const known = readMember(this.#statements, message.journal);
      if (message.epoch !== store.epoch) return this.#reply('foreign', store, known ?? null);
      if (known !== undefined && message.incarnation < known.incarnation) return this.#reply('fenced', store, known);
      const member = known ?? registerMember(this.#statements, store, { ...message, by: 'message' });
      const reply = this.#receive({ message, text }, store, member);
      writeBoardState(this.#statements, store);
      return reply;
    });
  }

  /** Applies the message, or tells why not. The member is heard unless it is fenced. */
  #receive({ message, text }: WrittenMessage, store: StoreState, member: MemberState): SyncReply {
    const used = this.#statements.get(READ_MESSAGE, message.journal, message.seq);
    // A successor of another message than the stored one comes from a second author: resending could never heal it.
    const follows = message.prevHash === member.hash || member.seq === 0;
    const forked =
      (used !== undefined && used['hash'] !== message.hash) || (message.seq === member.seq + 1 && !follows);
    if (forked) return this.#reply('fenced', store, member);
    hear(store, member);
    member.incarnation = message.incarnation;
    if (message.seq !== member.seq + 1) {
      writeMember(this.#statements, member);
      const status = message.seq <= member.seq ? 'already' : 'behind';
      const claimApplied = used === undefined || used['claim_applied'] === null ? null : used['claim_applied'] === 1;
      return this.#reply(status, store, member, { claimApplied, lateCount: Number(used?.['late_count'] ?? 0) });
    }
    const outcome = this.#apply({ message, text }, store, member);
    writeMember(this.#statements, member);
    return this.#reply('ok', store, member, outcome);
  }

  #apply(
    { message, text }: WrittenMessage,
    store: StoreState,
    member: MemberState,
  ): { claimApplied: boolean | null; lateCount: number } {
    if (member.state !== 'live') reviveMember(store, member);
    const touched = [
      ...message.publications.map(({ window }) => window),
      ...message.healthChanges.map(({ window }) => window),
      ...message.blind.map(([from]) => from),
    ];
    // A freeze in the making looks no further than what this member had sealed: only what reaches back there can make it stale.
    if (touched.some((window) => window <= member.sealedThrough)) store.boardVersion += 1;
    const lateCount = this.#publish(message, store);
    for (const { pool, window, healthy } of message.healthChanges) {
      this.#statements.run(ADD_HEALTH, message.journal, pool, window, healthy ? 1 : 0);
    }
    const farthest = windowOf(store.nowMs) + FUTURE_SECONDS;
    member.sealedThrough = Math.max(member.sealedThrough, Math.min(message.sealedThrough, farthest));
    member.blind = mergeBlind(member.blind, message.blind, store.frontier ?? 0);
    member.seq = message.seq;
    member.hash = message.hash;
    member.latePublications += lateCount;
    const claimApplied =
      message.claim === null ? null : this.#claim({ message, claim: message.claim, text }, store, member);
    if (message.leave) member.state = 'left';
    const answered = claimApplied === null ? null : Number(claimApplied);
    this.#statements.run(ADD_MESSAGE, message.journal, message.seq, message.hash, answered, lateCount);
    this.#statements.run(TRIM_MESSAGES, message.journal, message.seq - HASHES_PER_JOURNAL);
    return { claimApplied, lateCount };
  }

  /** Puts publications on the board; returns how many were too late, or too far ahead, to be priced. */
  #publish(message: SyncMessage, store: StoreState): number {
    const frontier = store.frontier ?? -Infinity;
    const farthest = windowOf(store.nowMs) + FUTURE_SECONDS;
    const inTime = ({ window }: Publication) => window > frontier && window <= farthest;
    const accepted = message.publications.filter(inTime);
    for (const publication of accepted) {
      const { window, pool } = publication;
      this.#statements.run(ADD_PUBLICATION, window, message.journal, pool, JSON.stringify(publication));
    }
    return message.publications.length - accepted.length;
  }

  /** Moves the claim's money when it is exactly what this journal is due, else leaves everything as it is. */
  #claim({ message, claim, text }: WrittenMessage & { claim: Claim }, store: StoreState, member: MemberState): boolean {
    if (claim.k0 !== member.claimed || claim.k > store.k || !claimBalances(claim)) return false;
    const chain = claim.k === store.k ? store.freezeHash : this.#statements.get(READ_CHAIN, claim.k)?.['hash'];
    if (chain !== claim.hash) return false;
    const due = this.#statements.allExact(SUM_SHARES, member.journal, claim.k0, claim.k)[0]?.['due'];
    if (due !== BigInt(claim.totalNanoUsd)) return false;
    member.entry = applyClaim(this.#statements, { message, claim, text, previous: member.entry });
    this.#statements.run(DROP_SHARES, member.journal, claim.k);
    member.claimed = claim.k;
    return true;
  }

  readFreezeInput(nowMs: number): FreezeInput {
    return this.#statements.snapshot(() => {
      const store = readStore(this.#statements, nowMs);
      const { frontier, k, freezeHash, boardVersion } = store;
      return {
        frontier,
        k,
        hash: freezeHash,
        boardVersion,
        facts: this.#readFacts(),
        nowMs,
        members: readLiveMembers(this.#statements, store),
        ...this.#readBoard(frontier ?? -1),
        health: this.#statements.all(READ_HEALTH).map((row) => ({
          journal: String(row['journal']),
          pool: String(row['pool']),
          window: Number(row['window']),
          healthy: row['healthy'] === 1,
        })),
      };
    });
  }

  /** Whole windows: the first few of them beyond the frontier. */
  #readBoard(frontier: number): Pick<FreezeInput, 'board' | 'boardThrough'> {
    const beyond = this.#statements.get(READ_BOARD_BEYOND, frontier, BOARD_WINDOWS_PER_READ)?.['window'];
    const boardThrough = beyond === undefined ? null : Number(beyond) - 1;
    const rows = this.#statements.all(READ_BOARD, frontier, boardThrough ?? Number.MAX_SAFE_INTEGER);
    const board = rows.map((row) => ({
      journal: String(row['journal']),
      publication: JSON.parse(String(row['publication'])) as Publication,
    }));
    return { board, boardThrough };
  }

  readFacts(): FactBook {
    return this.#readFacts();
  }

  #readFacts(): FactBook {
    const row = this.#statements.get(READ_FACTS);
    return {
      version: Number(row?.['facts_version']),
      pools: JSON.parse(String(row?.['facts'])) as FactBook['pools'],
    };
  }

  commitFreeze(commit: FreezeCommit, nowMs: number): 'committed' | 'stale' {
    return this.#statements.transact(() => {
      const store = tickStore(this.#statements, nowMs);
      const { expected } = commit;
      const fresh =
        expected.frontier === store.frontier &&
        expected.k === store.k &&
        expected.boardVersion === store.boardVersion &&
        expected.factsVersion === store.factsVersion;
      if (!fresh || commit.to <= expected.frontier) return 'stale';
      const k = store.k + 1;
      addToBooks(this.#statements, commit.books);
      for (const [journal, entry] of Object.entries(commit.shares)) {
        this.#statements.run(ADD_SHARE, journal, k, BigInt(entry.totalNanoUsd), JSON.stringify(entry));
      }
      this.#statements.run(ADD_FREEZE, k, commit.hash);
      this.#statements.run(ADD_FREEZE_HOUR, hourOf(commit.to), k, store.freezeHash);
      this.#statements.run(ADD_DIGEST, k, hourOf(commit.to), Buffer.from(commit.contentDigest, 'hex'));
      this.#statements.run(MOVE_FRONTIER, commit.to, k, commit.hash);
      this.#statements.run(CLEAR_BOARD, commit.to);
      this.#statements.run(TRIM_HEALTH, commit.to);
      for (const journal of commit.dropMembers) this.#statements.run(DROP_MEMBER, journal);
      if (hourOf(commit.to) !== hourOf(expected.frontier)) expireRows(this.#statements, this.#retention, nowMs);
      if (k % 64 === 0) this.#statements.run(TRIM_CHAIN, k - CHAIN_KEPT);
      return 'committed';
    });
  }

  putFacts(pools: FactBook['pools'], expectedVersion: number): 'stored' | 'stale' {
    return this.#statements.transact(() =>
      this.#statements.run(WRITE_FACTS, JSON.stringify(pools), expectedVersion) === 1 ? 'stored' : 'stale',
    );
  }

  #reply(
    status: SyncReply['status'],
    store: StoreState,
    member: MemberState | null,
    outcome: { claimApplied: boolean | null; lateCount: number } = { claimApplied: null, lateCount: 0 },
  ): SyncReply {
    return buildReply(this.#statements, store, { status, member, ...outcome });
  }
}

/** Back from `left` or `dropped`: what is frozen is frozen, and a freeze in the making must look again. */
function reviveMember(store: StoreState, member: MemberState): void {
  member.state = 'live';
  member.sealedThrough = Math.max(member.sealedThrough, store.frontier ?? 0);
  store.boardVersion += 1;
}

/** Stamps the member. One that was silent may be about to be dropped by a freeze in the making, which must look again. */
function hear(store: StoreState, member: MemberState): void {
  if (store.aliveMs - member.seenAliveMs > 2000) store.boardVersion += 1;
  member.seenAliveMs = store.aliveMs;
}
