// A settlement store in memory with the exact semantics of the ports, on an injected clock: for unit and model tests, not shipped.
// Its whole state is one value that can be snapshot and put back, which is what a failover that loses its tail does.
import { randomUUID } from 'node:crypto';
import type {
  BookCell,
  BooksReader,
  BooksStatus,
  Granularity,
  Period,
  RecordQuery,
  RollupCell,
} from '#domain/books.ts';
import type { LearnedDocument, LearnerStore } from '#domain/learner-store.ts';
import { writeRecords } from '#domain/message-text.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import {
  BOOK_METRICS,
  type BookIncrement,
  type BookMetric,
  type Claim,
  type FreezeCommit,
  type FreezeInput,
  type HealthChange,
  type Member,
  type Publication,
  type SettledRecordJson,
  type ShareEntry,
  type SyncMessage,
  type SyncReply,
  type SyncStatus,
} from '#domain/settlement.ts';
import {
  StoreSchemaError,
  StoreUnavailableError,
  type SettlementStore,
  type StoreIdentity,
} from '#domain/settlement-store.ts';
import { windowOf } from '#domain/window.ts';
import { claimBalances } from '#store/check-claim.ts';
import { mergeBlind, type WindowRange } from '#store/member-blind.ts';
import { readRecordPage } from '#store/read-record-page.ts';
import { packRecords, type RecordBatch } from '#store/record-batches.ts';
import { parseDims, spreadIncrements, toCellMetrics } from '#store/rollup-cells.ts';
import {
  ALIVE_STEP_MS,
  BOARD_WINDOWS_PER_READ,
  FUTURE_SECONDS,
  SHARES_PER_REPLY,
  STORE_SCHEMA,
} from '#store/store-options.ts';

interface MemberState {
  readonly journal: string;
  state: 'live' | 'left' | 'dropped';
  incarnation: number;
  seq: number;
  hash: string;
  sealedThrough: number;
  seenAliveMs: number;
  claimed: number;
  blind: readonly WindowRange[];
  messages: Map<number, { hash: string; claimApplied: boolean | null; lateCount: number }>;
  shares: ShareEntry[];
}

/** Everything the store knows. Plain data: structuredClone copies it. */
export interface MemoryState {
  readonly epoch: string;
  schema: number;
  aliveMs: number;
  lastCallMs: number;
  frontier: number | null;
  boardVersion: number;
  facts: FactBook;
  learned: LearnedDocument;
  /** Chain hash at k, index 0 before the first freeze. */
  chain: string[];
  members: Map<string, MemberState>;
  /** By window, journal and pool. */
  board: Map<string, { journal: string; publication: Publication }>;
  health: (HealthChange & { readonly journal: string })[];
  books: Map<
    string,
    { hour: number; pool: string; deployments: string; gpu: string; metrics: Record<BookMetric, bigint> }
  >;
  cells: Map<string, { granularity: Granularity; start: number; dims: string; values: bigint[] }>;
  batches: (RecordBatch & { readonly id: string })[];
}

/** The state of a store that was just created; with an empty epoch, of one that is being rebuilt. */
export function createMemoryState(epoch: string = randomUUID()): MemoryState {
  return {
    epoch,
    schema: STORE_SCHEMA,
    aliveMs: 0,
    lastCallMs: 0,
    frontier: null,
    boardVersion: 0,
    facts: { version: 0, pools: {} },
    learned: { version: 0, text: '' },
    chain: [''],
    members: new Map(),
    board: new Map(),
    health: [],
    books: new Map(),
    cells: new Map(),
    batches: [],
  };
}

export interface MemoryStoreOptions {
  /** Epoch milliseconds of the store's clock. */
  readonly now: () => number;
  /** Shared by the clients of one store. */
  readonly state?: { current: MemoryState };
}

export class MemorySettlementStore implements SettlementStore, BooksReader, LearnerStore {
  readonly #now: () => number;
  readonly #shared: { current: MemoryState };
  #closed = false;

  constructor(options: MemoryStoreOptions) {
    this.#now = options.now;
    this.#shared = options.state ?? { current: createMemoryState() };
  }

  /** A copy of the whole state, to be given to `restore` later. */
  snapshot(): MemoryState {
    return structuredClone(this.#shared.current);
  }

  /** Puts a snapshot back, for all clients: what came after it never happened. */
  restore(snapshot: MemoryState): void {
    this.#shared.current = structuredClone(snapshot);
  }

  async open(): Promise<StoreIdentity> {
    const { epoch, schema } = this.#state();
    if (schema > STORE_SCHEMA) throw new StoreSchemaError(`schema ${schema} is newer than ${STORE_SCHEMA}`);
    return { epoch, schema };
  }

  async readVouchers(): Promise<readonly never[]> {
    return [];
  }

  async readLateClaims(): Promise<readonly never[]> {
    return [];
  }

  async readEpoch(): Promise<string | null> {
    const { epoch } = this.#state();
    return epoch === '' ? null : epoch;
  }

  async now(): Promise<number> {
    this.#state();
    return this.#now();
  }

  async join(author: { journal: string; incarnation: number }): Promise<SyncReply> {
    const state = this.#tick();
    const known = state.members.get(author.journal);
    if (state.epoch === '') return this.#reply('foreign', known);
    if (known !== undefined && author.incarnation < known.incarnation) return this.#reply('fenced', known);
    const member = known ?? this.#register(author, 'join');
    if (member.state !== 'live') this.#revive(member);
    member.incarnation = author.incarnation;
    this.#hear(member);
    return this.#reply('ok', member);
  }

  async sync(message: SyncMessage): Promise<SyncReply> {
    const state = this.#tick();
    const known = state.members.get(message.journal);
    if (message.epoch !== state.epoch) return this.#reply('foreign', known);
    if (known !== undefined && message.incarnation < known.incarnation) return this.#reply('fenced', known);
    const member = known ?? this.#register(message, 'message');
    const used = member.messages.get(message.seq);
    const follows = message.prevHash === member.hash || member.seq === 0;
    const forked = (used !== undefined && used.hash !== message.hash) || (message.seq === member.seq + 1 && !follows);
    if (forked) return this.#reply('fenced', member);
    this.#hear(member);
    member.incarnation = message.incarnation;
    if (message.seq !== member.seq + 1) {
      return this.#reply(message.seq <= member.seq ? 'already' : 'behind', member, used);
    }
    return this.#reply('ok', member, this.#apply(message, member));
  }

  async readFreezeInput(): Promise<FreezeInput> {
    const state = this.#state();
    return {
      frontier: state.frontier,
      k: state.chain.length - 1,
      hash: state.chain.at(-1) ?? '',
      boardVersion: state.boardVersion,
      facts: state.facts,
      nowMs: this.#now(),
      members: this.#liveMembers(),
      ...readBoard(state),
      health: state.health.map((change) => ({ ...change })),
    };
  }

  async commitFreeze(commit: FreezeCommit): Promise<'committed' | 'stale'> {
    const state = this.#tick();
    const { expected } = commit;
    const fresh =
      expected.frontier === state.frontier &&
      expected.k === state.chain.length - 1 &&
      expected.boardVersion === state.boardVersion &&
      expected.factsVersion === state.facts.version;
    if (!fresh || commit.to <= expected.frontier) return 'stale';
    for (const book of commit.books) this.#addToBooks(book);
    for (const [journal, entry] of Object.entries(commit.shares)) state.members.get(journal)?.shares.push(entry);
    state.chain.push(commit.hash);
    state.frontier = commit.to;
    for (const [id, entry] of state.board) if (entry.publication.window <= commit.to) state.board.delete(id);
    state.health = keepNeededHealth(state.health, commit.to);
    for (const journal of commit.dropMembers) {
      const member = state.members.get(journal);
      if (member?.state === 'live') member.state = 'dropped';
    }
    return 'committed';
  }

  async putFacts(pools: FactBook['pools'], expectedVersion: number): Promise<'stored' | 'stale'> {
    const state = this.#state();
    if (state.facts.version !== expectedVersion) return 'stale';
    state.facts = { version: expectedVersion + 1, pools: structuredClone(pools) };
    return 'stored';
  }

  async readLearned(): Promise<LearnedDocument> {
    return this.#state().learned;
  }

  async putLearned(text: string, expectedVersion: number): Promise<'stored' | 'stale'> {
    const state = this.#state();
    if (state.learned.version !== expectedVersion) return 'stale';
    state.learned = { version: expectedVersion + 1, text };
    return 'stored';
  }

  async readStatus(): Promise<BooksStatus> {
    const { epoch, schema, frontier, chain } = this.#state();
    return {
      epoch,
      schema,
      nowMs: this.#now(),
      frontier,
      k: chain.length - 1,
      freezeHash: chain.at(-1) ?? '',
      claimState: JSON.stringify([...this.#state().members].map(([journal, { claimed }]) => [journal, claimed])),
      latePublications: [...this.#state().members.values()]
        .flatMap(({ messages }) => [...messages.values()])
        .reduce((sum, { lateCount }) => sum + lateCount, 0),
      members: this.#liveMembers(),
    };
  }

  async readFacts(): Promise<FactBook> {
    return this.#state().facts;
  }

  async readRollups(period: Period, granularity: Granularity): Promise<readonly RollupCell[]> {
    return [...this.#state().cells.values()]
      .filter((cell) => cell.granularity === granularity && cell.start >= period.from && cell.start < period.to)
      .map(({ start, dims, values }) => ({ ...parseDims(dims), start, metrics: toCellMetrics(values) }));
  }

  async readBooks(period: Period): Promise<readonly BookCell[]> {
    return [...this.#state().books.values()]
      .filter(({ hour }) => hour >= period.from && hour < period.to)
      .map((cell) => ({ ...cell, metrics: { ...cell.metrics } }));
  }

  async readRecords(
    query: RecordQuery,
  ): Promise<{ readonly records: readonly SettledRecordJson[]; readonly next: string | null }> {
    const batches = this.#state().batches.toSorted((a, b) => b.lastEndedMs - a.lastEndedMs || (a.id < b.id ? 1 : -1));
    return readRecordPage(query, {
      listBatches: async ({ fromMs, toMs, skip, limit }) =>
        batches.filter((batch) => batch.lastEndedMs >= fromMs && batch.lastEndedMs <= toMs).slice(skip, skip + limit),
      readBodies: async (ids) => ids.map((id) => batches.find((batch) => batch.id === id)?.body),
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #state(): MemoryState {
    if (this.#closed) throw new StoreUnavailableError('the store is closed');
    return this.#shared.current;
  }

  /** Adds min(now − last call, 2 s) to the aliveClock. */
  #tick(): MemoryState {
    const state = this.#state();
    const nowMs = this.#now();
    state.aliveMs += state.lastCallMs === 0 ? 0 : Math.max(0, Math.min(nowMs - state.lastCallMs, ALIVE_STEP_MS));
    state.lastCallMs = nowMs;
    return state;
  }

  #register(author: { journal: string; incarnation: number }, by: 'join' | 'message'): MemberState {
    const state = this.#state();
    const beforeNow = windowOf(this.#now()) - 1;
    state.frontier ??= beforeNow;
    const sealedThrough = by === 'join' ? Math.max(state.frontier, beforeNow) : state.frontier;
    const member: MemberState = {
      journal: author.journal,
      state: 'live',
      incarnation: author.incarnation,
      seq: 0,
      hash: '',
      sealedThrough,
      seenAliveMs: state.aliveMs,
      claimed: state.chain.length - 1,
      blind: by === 'join' && sealedThrough > state.frontier ? [[0, sealedThrough]] : [],
      messages: new Map(),
      shares: [],
    };
    state.members.set(author.journal, member);
    return member;
  }

  #revive(member: MemberState): void {
    const state = this.#state();
    member.state = 'live';
    member.sealedThrough = Math.max(member.sealedThrough, state.frontier ?? 0);
    state.boardVersion += 1;
  }

  /** A member that was silent may be about to be dropped by a freeze in the making, which must look again. */
  #hear(member: MemberState): void {
    const state = this.#state();
    if (state.aliveMs - member.seenAliveMs > ALIVE_STEP_MS) state.boardVersion += 1;
    member.seenAliveMs = state.aliveMs;
  }

  #apply(message: SyncMessage, member: MemberState): { claimApplied: boolean | null; lateCount: number } {
    const state = this.#state();
    const sealedBefore = member.sealedThrough;
    if (member.state !== 'live') this.#revive(member);
    const touched = [
      ...message.publications.map(({ window }) => window),
      ...message.healthChanges.map(({ window }) => window),
      ...message.blind.map(([from]) => from),
    ];
    if (touched.some((window) => window <= sealedBefore)) state.boardVersion += 1;
    const farthest = windowOf(this.#now()) + FUTURE_SECONDS;
    let lateCount = 0;
    for (const publication of message.publications) {
      const { window, pool } = publication;
      const id = `${window} ${message.journal} ${pool}`;
      if (window <= (state.frontier ?? -Infinity) || window > farthest) lateCount += 1;
      else if (!state.board.has(id)) state.board.set(id, { journal: message.journal, publication });
    }
    const { journal } = message;
    for (const change of message.healthChanges) {
      const rest = state.health.filter(
        (known) => known.journal !== journal || known.pool !== change.pool || known.window !== change.window,
      );
      state.health = [...rest, { ...change, journal }];
    }
    member.sealedThrough = Math.max(member.sealedThrough, Math.min(message.sealedThrough, farthest));
    member.blind = mergeBlind(member.blind, message.blind, state.frontier ?? 0);
    member.seq = message.seq;
    member.hash = message.hash;
    const claimApplied = message.claim === null ? null : this.#claim(message.claim, member);
    if (message.leave) member.state = 'left';
    member.messages.set(message.seq, { hash: message.hash, claimApplied, lateCount });
    return { claimApplied, lateCount };
  }

  #claim(claim: Claim, member: MemberState): boolean {
    const state = this.#state();
    if (claim.k0 !== member.claimed || claim.k >= state.chain.length || !claimBalances(claim)) return false;
    if (state.chain[claim.k] !== claim.hash) return false;
    const due = member.shares
      .filter(({ k }) => k > claim.k0 && k <= claim.k)
      .reduce((sum, share) => sum + BigInt(share.totalNanoUsd), 0n);
    if (due !== BigInt(claim.totalNanoUsd)) return false;
    for (const { hour, pool, nanoUsd } of claim.pools) {
      const labels = state.books.get(`${hour} ${pool}`) ?? { deployments: '', gpu: '' };
      const { deployments, gpu } = labels;
      this.#addToBooks({ hour, pool, deployments, gpu, metrics: { claimedNanoUsd: nanoUsd } });
    }
    for (const { granularity, start, dims, values } of spreadIncrements(claim.increments)) {
      const id = `${granularity} ${start} ${dims}`;
      const known = state.cells.get(id)?.values ?? [];
      const sums = values.map((value, index) => value + (known[index] ?? 0n));
      state.cells.set(id, { granularity, start, dims, values: sums });
    }
    for (const batch of packRecords(writeRecords(claim.records)).batches) {
      state.batches.push({ ...batch, id: String(state.batches.length).padStart(12, '0') });
    }
    member.shares = member.shares.filter(({ k }) => k > claim.k);
    member.claimed = claim.k;
    return true;
  }

  #addToBooks(book: BookIncrement): void {
    const { books } = this.#state();
    const { hour, pool, deployments, gpu } = book;
    const known = books.get(`${hour} ${pool}`)?.metrics;
    const sums = BOOK_METRICS.map((metric) => [metric, (known?.[metric] ?? 0n) + BigInt(book.metrics[metric] ?? 0)]);
    const metrics = Object.fromEntries(sums) as Record<BookMetric, bigint>;
    books.set(`${hour} ${pool}`, { hour, pool, deployments, gpu, metrics });
  }

  #liveMembers(): Member[] {
    const { members, aliveMs } = this.#state();
    return [...members.values()]
      .filter(({ state }) => state === 'live')
      .toSorted((a, b) => (a.journal < b.journal ? -1 : 1))
      .map(({ journal, incarnation, sealedThrough, seenAliveMs, blind }) => ({
        journal,
        incarnation,
        sealedThrough,
        silentSeconds: (aliveMs - seenAliveMs) / 1000,
        blind: [...blind],
      }));
  }

  #reply(
    status: SyncStatus,
    member: MemberState | undefined,
    outcome: { claimApplied: boolean | null; lateCount: number } = { claimApplied: null, lateCount: 0 },
  ): SyncReply {
    const { epoch, frontier, chain } = this.#state();
    const shares = member?.shares.slice(0, SHARES_PER_REPLY) ?? [];
    const cutAt = (member?.shares.length ?? 0) > SHARES_PER_REPLY ? shares.at(-1) : undefined;
    const k = chain.length - 1;
    const freezeHash = chain[k] ?? '';
    return {
      status,
      epoch,
      nowMs: this.#now(),
      seq: member?.seq ?? 0,
      hash: member?.hash ?? '',
      frontier,
      k,
      freezeHash,
      claimed: member?.claimed ?? 0,
      claimApplied: outcome.claimApplied,
      lateCount: outcome.lateCount,
      shares,
      sharesThrough:
        cutAt === undefined
          ? { k, to: frontier ?? 0, hash: freezeHash }
          : { k: cutAt.k, to: cutAt.to, hash: cutAt.hash },
      members: this.#liveMembers().map(({ journal }) => journal),
    };
  }
}

/** Per journal and pool the last change at or before the frontier, and all after. */
function keepNeededHealth(health: MemoryState['health'], frontier: number): MemoryState['health'] {
  return health.filter(
    (change) =>
      change.window > frontier ||
      !health.some(
        (later) =>
          later.journal === change.journal &&
          later.pool === change.pool &&
          later.window > change.window &&
          later.window <= frontier,
      ),
  );
}

/** The first windows of the board, each whole. */
function readBoard({ board }: MemoryState): Pick<FreezeInput, 'board' | 'boardThrough'> {
  const entries = [...board.values()];
  const windows = [...new Set(entries.map(({ publication }) => publication.window))].toSorted((a, b) => a - b);
  const beyond = windows[BOARD_WINDOWS_PER_READ];
  const read = entries.filter(({ publication }) => beyond === undefined || publication.window < beyond);
  return { board: read.map((entry) => ({ ...entry })), boardThrough: beyond === undefined ? null : beyond - 1 };
}
