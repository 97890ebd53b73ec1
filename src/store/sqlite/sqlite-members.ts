// The store's own row and the rows of members in SQLite, and the reply every settlement call ends with.
import type { EntryLink } from '#domain/ledger.ts';
import type { Member, ShareEntry, SyncReply, SyncStatus } from '#domain/settlement.ts';
import { windowOf } from '#domain/window.ts';
import { formatLink, parseLink } from '../claim-entries.ts';
import type { WindowRange } from '../member-blind.ts';
import { ALIVE_STEP_MS, MEMBER_FORGOTTEN_MS, SHARES_PER_REPLY } from '../store-options.ts';
import type { Row, Statements } from './statements.ts';

/** The row `store`, with the aliveClock already moved to this call. */
export interface StoreState {
  readonly epoch: string;
  readonly nowMs: number;
  readonly aliveMs: number;
  frontier: number | null;
  readonly k: number;
  readonly freezeHash: string;
  boardVersion: number;
  readonly factsVersion: number;
}

export interface MemberState {
  readonly journal: string;
  state: 'live' | 'left' | 'dropped';
  incarnation: number;
  seq: number;
  hash: string;
  sealedThrough: number;
  seenAliveMs: number;
  claimed: number;
  latePublications: number;
  blind: readonly WindowRange[];
  /** Last claim kept as an entry. */
  entry: EntryLink | null;
}

const READ_STORE = 'SELECT * FROM store WHERE id = 1';
const TICK = 'UPDATE store SET alive_ms = ?, last_call_ms = ? WHERE id = 1';
const WRITE_BOARD_STATE = 'UPDATE store SET frontier = ?, board_version = ? WHERE id = 1';
const READ_MEMBER = 'SELECT * FROM members WHERE journal = ?';
const READ_LIVE = "SELECT * FROM members WHERE state = 'live' ORDER BY journal";
const WRITE_MEMBER = `INSERT OR REPLACE INTO members
  (journal, state, incarnation, seq, hash, sealed_through, seen_alive_ms, claimed, late_publications, blind, entry)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const READ_SHARES = 'SELECT entry FROM shares WHERE journal = ? ORDER BY k LIMIT ?';
const READ_FORGOTTEN = `SELECT journal FROM members WHERE state <> 'live' AND seen_alive_ms < ?
  AND NOT EXISTS (SELECT 1 FROM shares WHERE shares.journal = members.journal)`;
const FORGET = [
  'DELETE FROM members WHERE journal = ?',
  'DELETE FROM messages WHERE journal = ?',
  'DELETE FROM health WHERE journal = ?',
];

/** Reads the store's row and adds min(now − last call, 2 s) to the aliveClock. A clock that stepped back adds nothing. */
export function tickStore(statements: Statements, nowMs: number): StoreState {
  const row = statements.get(READ_STORE) ?? {};
  const lastCallMs = Number(row['last_call_ms']);
  const aliveMs = Number(row['alive_ms']) + Math.max(0, Math.min(nowMs - lastCallMs, ALIVE_STEP_MS));
  statements.run(TICK, aliveMs, nowMs);
  return toStoreState(row, nowMs, aliveMs);
}

/** The store's row as it stands, without moving the aliveClock. */
export function readStore(statements: Statements, nowMs: number): StoreState {
  const row = statements.get(READ_STORE) ?? {};
  return toStoreState(row, nowMs, Number(row['alive_ms']));
}

function toStoreState(row: Row, nowMs: number, aliveMs: number): StoreState {
  return {
    epoch: String(row['epoch']),
    nowMs,
    aliveMs,
    frontier: row['frontier'] === null ? null : Number(row['frontier']),
    k: Number(row['freeze_count']),
    freezeHash: String(row['freeze_hash']),
    boardVersion: Number(row['board_version']),
    factsVersion: Number(row['facts_version']),
  };
}

/** Keeps `frontier` and `boardVersion`. */
export function writeBoardState(statements: Statements, store: StoreState): void {
  statements.run(WRITE_BOARD_STATE, store.frontier, store.boardVersion);
}

/** Undefined for a journal that never joined or was forgotten. */
export function readMember(statements: Statements, journal: string): MemberState | undefined {
  const row = statements.get(READ_MEMBER, journal);
  return row === undefined ? undefined : toMemberState(row);
}

function toMemberState(row: Row): MemberState {
  return {
    journal: String(row['journal']),
    state: row['state'] as MemberState['state'],
    incarnation: Number(row['incarnation']),
    seq: Number(row['seq']),
    hash: String(row['hash']),
    sealedThrough: Number(row['sealed_through']),
    seenAliveMs: Number(row['seen_alive_ms']),
    claimed: Number(row['claimed']),
    latePublications: Number(row['late_publications']),
    blind: JSON.parse(String(row['blind'])) as readonly WindowRange[],
    entry: parseLink(String(row['entry'])),
  };
}

/** Inserts or replaces the member's row. */
export function writeMember(statements: Statements, member: MemberState): void {
  statements.run(
    WRITE_MEMBER,
    member.journal,
    member.state,
    member.incarnation,
    member.seq,
    member.hash,
    member.sealedThrough,
    member.seenAliveMs,
    member.claimed,
    member.latePublications,
    JSON.stringify(member.blind),
    formatLink(member.entry),
  );
}

/**
 * A member the store has not seen. By `join` it has nothing before now and is blind there; by a message (its join was lost in
 * a failover) the frontier waits at where it stands until the journal has been resent.
 */
export function registerMember(
  statements: Statements,
  store: StoreState,
  author: { journal: string; incarnation: number; by: 'join' | 'message' },
): MemberState {
  const beforeNow = windowOf(store.nowMs) - 1;
  store.frontier ??= beforeNow;
  const sealedThrough = author.by === 'join' ? Math.max(store.frontier, beforeNow) : store.frontier;
  forgetMembers(statements, store);
  return {
    journal: author.journal,
    state: 'live',
    incarnation: author.incarnation,
    seq: 0,
    hash: '',
    sealedThrough,
    seenAliveMs: store.aliveMs,
    claimed: store.k,
    latePublications: 0,
    blind: author.by === 'join' && sealedThrough > store.frontier ? [[0, sealedThrough]] : [],
    entry: null,
  };
}

function forgetMembers(statements: Statements, store: StoreState): void {
  for (const row of statements.all(READ_FORGOTTEN, store.aliveMs - MEMBER_FORGOTTEN_MS)) {
    for (const sql of FORGET) statements.run(sql, String(row['journal']));
  }
}

/** Live members in order of their journal. */
export function readLiveMembers(statements: Statements, store: StoreState): Member[] {
  return statements.all(READ_LIVE).map((row) => {
    const { journal, incarnation, sealedThrough, seenAliveMs, blind } = toMemberState(row);
    return { journal, incarnation, sealedThrough, silentSeconds: (store.aliveMs - seenAliveMs) / 1000, blind };
  });
}

/** What every join and sync answers; `member` is null only for a journal the store does not know. */
export function buildReply(
  statements: Statements,
  store: StoreState,
  answer: {
    status: SyncStatus;
    member: MemberState | null;
    claimApplied: boolean | null;
    lateCount: number;
  },
): SyncReply {
  const { member } = answer;
  const rows = member === null ? [] : statements.all(READ_SHARES, member.journal, SHARES_PER_REPLY + 1);
  const shares = rows.slice(0, SHARES_PER_REPLY).map((row) => JSON.parse(String(row['entry'])) as ShareEntry);
  const cutAt = rows.length > SHARES_PER_REPLY ? shares.at(-1) : undefined;
  return {
    status: answer.status,
    epoch: store.epoch,
    nowMs: store.nowMs,
    seq: member?.seq ?? 0,
    hash: member?.hash ?? '',
    frontier: store.frontier,
    k: store.k,
    freezeHash: store.freezeHash,
    claimed: member?.claimed ?? 0,
    claimApplied: answer.claimApplied,
    lateCount: answer.lateCount,
    shares,
    sharesThrough: readThrough(store, cutAt),
    members: readLiveMembers(statements, store).map(({ journal }) => journal),
  };
}

function readThrough(store: StoreState, cutAt: ShareEntry | undefined): SyncReply['sharesThrough'] {
  if (cutAt !== undefined) return { k: cutAt.k, to: cutAt.to, hash: cutAt.hash };
  return { k: store.k, to: store.frontier ?? 0, hash: store.freezeHash };
}
