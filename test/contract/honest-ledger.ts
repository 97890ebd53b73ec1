// A small ledger written through the real ports: two journals, claims over two hours, records whose lines come in several claims.
import { digestFreeze, chainFreeze } from '#attribution/freeze-chain.ts';
import { hashMessage } from '#accounting/message-log.ts';
import type {
  CellIncrement,
  ChargeLine,
  Claim,
  FreezeCommit,
  SettledRecordJson,
  ShareEntry,
  SyncMessage,
  SyncReply,
} from '#domain/settlement.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { hourOf } from '#domain/window.ts';
import { POOL, recordAt } from './settlement-messages.ts';

/** One author whose messages carry the product's own hashes. */
export class HonestJournal {
  readonly journal: string;
  seq = 0;
  hash = '';
  readonly #store: SettlementStore;
  readonly #epoch: string;
  /** Lines not yet taken by a record, by record id. */
  readonly #open = new Map<string, ChargeLine[]>();

  constructor(store: SettlementStore, epoch: string, journal: string) {
    this.#store = store;
    this.#epoch = epoch;
    this.journal = journal;
  }

  send(fields: Pick<SyncMessage, 'sealedThrough'> & Partial<SyncMessage>): Promise<SyncReply> {
    const body = {
      journal: this.journal,
      epoch: this.#epoch,
      seq: this.seq + 1,
      prevHash: this.hash,
      sealedThrough: fields.sealedThrough,
      publications: [],
      healthChanges: [],
      blind: [],
      claim: fields.claim ?? null,
      leave: false,
    };
    const message: SyncMessage = { ...body, incarnation: 1, hash: hashMessage(body) };
    this.seq = message.seq;
    this.hash = message.hash;
    return this.#store.sync(message);
  }

  /** Claims every share; each becomes a line of a record, which ends with this claim when `endsAtMs` says so. */
  async claim(recordIds: readonly string[], endsAtMs: readonly (number | null)[]): Promise<SyncReply> {
    const { frontier } = await this.#store.readFreezeInput();
    const at = frontier ?? 0;
    const reply = await this.send({ sealedThrough: at });
    const windows = reply.shares.flatMap((share) => share.windows);
    const lines = windows.map(({ window, nanoUsd }, i): ChargeLine => ({
      recordId: recordIds[i % recordIds.length] ?? '',
      hour: hourOf(window),
      phase: i % 2 === 0 ? 'prefill' : 'decode',
      costNanoUsd: nanoUsd,
      gpuMicros: '500',
    }));
    for (const line of lines) this.#open.set(line.recordId, [...(this.#open.get(line.recordId) ?? []), line]);
    const records = recordIds.flatMap((recordId, i) => {
      const endedAtMs = endsAtMs[i] ?? null;
      return endedAtMs === null ? [] : [this.#settle(recordId, endedAtMs)];
    });
    const { k, hash } = reply.sharesThrough;
    const claim: Claim = {
      k0: reply.claimed,
      k,
      hash,
      totalNanoUsd: sum(windows.map(({ nanoUsd }) => nanoUsd)),
      lines,
      increments: [...lines.map(lineIncrement), ...records.map(recordIncrement)],
      pools: windows.map(({ window, nanoUsd, pool }) => ({ hour: hourOf(window), pool, nanoUsd })),
      records,
    };
    const answer = await this.send({ sealedThrough: at, claim });
    if (answer.claimApplied !== true) throw new Error(`the claim was answered ${JSON.stringify(answer)}`);
    return answer;
  }

  #settle(recordId: string, endedAtMs: number): SettledRecordJson {
    const lines = this.#open.get(recordId) ?? [];
    this.#open.delete(recordId);
    const hours = [...new Set(lines.map(({ hour }) => hour))].toSorted((a, b) => a - b);
    const cost = (hour: number, phase?: string) =>
      sum(lines.filter((line) => line.hour === hour && (phase ?? line.phase) === line.phase).map((l) => l.costNanoUsd));
    return recordAt(endedAtMs, {
      recordId,
      // As the gateway names them: an archive's row knows the request and the attempt, and a rebuild the record by both.
      requestId: recordId.slice(0, recordId.lastIndexOf('.')),
      startedAtMs: endedAtMs - 7_000_000,
      charges: hours.map((hour) => ({
        hour,
        gpuMicros: sum(lines.filter((line) => line.hour === hour).map((line) => line.gpuMicros)),
        costNanoUsd: cost(hour),
        prefillNanoUsd: cost(hour, 'prefill'),
        decodeNanoUsd: cost(hour, 'decode'),
        otherNanoUsd: '0',
        nanoUsdPerGpuHour: '2500000000',
      })),
    });
  }
}

const DIMS = { team: 'search', project: '', keyId: 'k_1', model: 'llama-3.1', deployment: 'llama' };

function lineIncrement({ hour, phase, costNanoUsd, gpuMicros }: ChargeLine): CellIncrement {
  return { hour, ...DIMS, metrics: { costNanoUsd, gpuMicros, [`${phase}NanoUsd`]: costNanoUsd } };
}

function recordIncrement({ endedAtMs }: SettledRecordJson): CellIncrement {
  const metrics = { requests: '1', attempts: '1', inputTokens: '100', outputTokens: '20', reportedTokens: '120' };
  return { hour: hourOf(Math.floor(endedAtMs / 1000)), ...DIMS, metrics };
}

function sum(amounts: readonly string[]): string {
  return amounts.reduce((total, amount) => total + BigInt(amount), 0n).toString();
}

/** Freezes up to `to`, one share of one window each; the chain is the product's own. */
export async function freezeHonestly(
  store: SettlementStore,
  to: number,
  shares: Readonly<Record<string, bigint>>,
): Promise<void> {
  const input = await store.readFreezeInput();
  const charged = Object.values(shares).reduce((total, share) => total + share, 0n);
  const entries = Object.entries(shares).map(([journal, share]) => {
    const window = { pool: POOL, window: to, nanoUsd: share.toString(), gpuMicros: '1000', weights: null };
    return [
      journal,
      { totalNanoUsd: share.toString(), windows: [{ ...window, nanoUsdPerGpuHour: '2500000000' }] },
    ] as const;
  });
  const metrics = {
    capacityNanoUsd: (charged + 5n).toString(),
    chargedNanoUsd: charged.toString(),
    idleNanoUsd: '5',
    provisionedSeconds: '1',
  };
  const books = [{ hour: hourOf(to), pool: POOL, deployments: 'llama', gpu: 'H100-SXM', metrics }];
  const contentDigest = digestFreeze({ to, books, shares: Object.fromEntries(entries) });
  const hash = chainFreeze(input.hash, contentDigest);
  const commit: FreezeCommit = {
    expected: {
      frontier: input.frontier ?? 0,
      k: input.k,
      boardVersion: input.boardVersion,
      factsVersion: input.facts.version,
    },
    to,
    hash,
    contentDigest,
    books,
    shares: Object.fromEntries(
      entries.map(([journal, share]): [string, ShareEntry] => [journal, { k: input.k + 1, to, hash, ...share }]),
    ),
    dropMembers: [],
  };
  if ((await store.commitFreeze(commit)) !== 'committed') throw new Error('the freeze was stale');
}

/** What the tampering tests change by name. */
export interface HonestLedger {
  readonly journals: readonly [string, string];
  /** First epoch second of the first hour with money. */
  readonly hour: number;
  /** Records in the order in which they settled. */
  readonly recordIds: readonly string[];
  readonly authors: readonly HonestJournal[];
}

/** The first freezes take a few seconds from now on: they must lie in one hour, or its figures stand in two. */
const SECONDS_BEFORE_EDGE = 10;

/** Waits for the next hour of the store's clock when this one is nearly over. */
async function passHourEdge(nowMs: number): Promise<void> {
  const leftMs = 3_600_000 - (nowMs % 3_600_000);
  if (leftMs < SECONDS_BEFORE_EDGE * 1000) await new Promise((resolve) => setTimeout(resolve, leftMs + 2000));
}

/** Two journals, four hours of freezes, eight claims with entries, six records, one share unclaimed; from `from` (epoch second) on where it lies ahead. */
export async function writeHonestLedger(store: SettlementStore, from = 0): Promise<HonestLedger> {
  const { epoch } = await store.open();
  await passHourEdge(await store.now());
  const journals = ['j-a', 'j-b'] as const;
  const authors = journals.map((journal) => new HonestJournal(store, epoch, journal));
  let at = 0;
  for (const author of authors) at = (await store.join({ journal: author.journal, incarnation: 1 })).frontier ?? 0;
  for (; at < from - 1; at = Math.min(hourOf(at + 1) + 3599, from - 1))
    await freezeHonestly(store, Math.min(hourOf(at + 1) + 3599, from - 1), {});
  const start = at;
  const recordIds: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    for (let step = 1; step <= 3; step += 1) {
      at += 1;
      await freezeHonestly(store, at, { 'j-a': 1000n + BigInt(at % 97), 'j-b': 700n + BigInt(step) });
    }
    at = hourOf(at) + 3599;
    await freezeHonestly(store, at, { 'j-a': 11n });
    for (const [i, author] of authors.entries()) {
      const [ends, stays] = [`r${round}${i}.1`, `long${i}.1`];
      await author.claim([ends, stays], [at * 1000 - 500, round === 2 ? at * 1000 - 200 : null]);
      recordIds.push(ends);
    }
  }
  await freezeHonestly(store, at + 1, { 'j-a': 123n });
  return { journals, hour: hourOf(start + 1), recordIds, authors };
}
