// Builds the messages, freezes and records of the store contract suite. Not a double: only data.
import { createHash, randomUUID } from 'node:crypto';
import { chainFreeze } from '#attribution/freeze-chain.ts';
import type {
  Claim,
  CellIncrement,
  FreezeCommit,
  FreezeInput,
  Publication,
  SettledRecordJson,
  ShareEntry,
  SyncMessage,
  SyncReply,
} from '#domain/settlement.ts';
import { hourOf } from '#domain/window.ts';

export const POOL = 'trt-1';

/** One journal as the store sees it: numbers and chains its messages. */
export class JournalAuthor {
  readonly journal = randomUUID();
  incarnation = 1;
  seq = 0;
  hash = '';
  readonly epoch: string;

  constructor(epoch: string) {
    this.epoch = epoch;
  }

  /** The next message; `sealedThrough` is required, everything else empty unless given. */
  next(fields: Pick<SyncMessage, 'sealedThrough'> & Partial<SyncMessage>): SyncMessage {
    const body = {
      journal: this.journal,
      incarnation: this.incarnation,
      epoch: this.epoch,
      seq: this.seq + 1,
      prevHash: this.hash,
      publications: [],
      healthChanges: [],
      blind: [],
      claim: null,
      leave: false,
      ...fields,
    };
    const message = { ...body, hash: digest(body) };
    this.seq = message.seq;
    this.hash = message.hash;
    return message;
  }
}

export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

export function publicationAt(window: number, pool = POOL): Publication {
  const zeros = Array.from({ length: 10 }, () => 0);
  return {
    pool,
    window,
    deployments: { llama: { p: 7, q: 49, d: 3, k: 30, s: [...zeros], u: [...zeros], flightMs: 400 } },
    n: [...zeros],
    busy: Buffer.alloc(125, 1).toString('base64'),
  };
}

/** A freeze of everything up to `to` that gives each journal its share (nanodollars) of one window at `to`. */
export function freezeOf(input: FreezeInput, to: number, shares: Readonly<Record<string, bigint>>): FreezeCommit {
  if (input.frontier === null) throw new Error('nobody has joined');
  const charged = Object.values(shares).reduce((sum, share) => sum + share, 0n);
  const contentDigest = digest([to, charged.toString()]);
  const hash = chainFreeze(input.hash, contentDigest);
  const entries = Object.entries(shares).map(([journal, share]): [string, ShareEntry] => [
    journal,
    {
      k: input.k + 1,
      to,
      hash,
      totalNanoUsd: share.toString(),
      windows: [
        {
          pool: POOL,
          window: to,
          nanoUsd: share.toString(),
          gpuMicros: '1000',
          weights: null,
          nanoUsdPerGpuHour: '2500000000',
        },
      ],
    },
  ]);
  return {
    expected: {
      frontier: input.frontier,
      k: input.k,
      boardVersion: input.boardVersion,
      factsVersion: input.facts.version,
    },
    to,
    hash,
    contentDigest,
    books: [
      {
        hour: hourOf(to),
        pool: POOL,
        deployments: 'llama',
        gpu: 'H100-SXM',
        metrics: {
          capacityNanoUsd: (charged + 5n).toString(),
          chargedNanoUsd: charged.toString(),
          idleNanoUsd: '5',
          provisionedSeconds: '1',
        },
      },
    ],
    shares: Object.fromEntries(entries),
    dropMembers: [],
  };
}

export interface ClaimParts {
  readonly team?: string;
  readonly records?: readonly SettledRecordJson[];
  readonly metrics?: CellIncrement['metrics'];
  readonly hour?: number;
}

/** A claim of all the reply's shares, charged to one team and one record. */
export function claimOf(reply: SyncReply, parts: ClaimParts = {}): Claim {
  const total = reply.shares.reduce((sum, share) => sum + BigInt(share.totalNanoUsd), 0n).toString();
  const hour = parts.hour ?? hourOf(reply.sharesThrough.to);
  const dims = { team: parts.team ?? 'search', project: '', keyId: 'k_1', model: 'llama-3.1', deployment: 'llama' };
  const owed = total !== '0';
  return {
    k0: reply.claimed,
    k: reply.sharesThrough.k,
    hash: reply.sharesThrough.hash,
    totalNanoUsd: total,
    lines: owed ? [{ recordId: 'r1.1', hour, phase: 'decode', costNanoUsd: total, gpuMicros: '10' }] : [],
    increments: [{ hour, ...dims, metrics: { requests: '1', gpuMicros: '10', costNanoUsd: total, ...parts.metrics } }],
    pools: owed ? [{ hour, pool: POOL, nanoUsd: total }] : [],
    records: parts.records ?? [],
  };
}

/** UUIDv7 of an instant. */
export function uuidAt(epochMs: number): string {
  const time = Math.floor(epochMs).toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

export function recordAt(endedAtMs: number, fields: Partial<SettledRecordJson> = {}): SettledRecordJson {
  const requestId = uuidAt(endedAtMs - 900);
  return {
    recordId: `${requestId}.1`,
    requestId,
    clientRequestId: null,
    attempt: 1,
    lastAttempt: true,
    team: 'search',
    project: null,
    keyId: 'k_1',
    user: null,
    tags: { feature: 'autocomplete' },
    requestedModel: 'llama-3.1',
    model: 'llama-3.1',
    deployment: 'llama',
    upstream: 'trt-1',
    pool: POOL,
    route: '/v1/chat/completions',
    stream: true,
    startedAtMs: endedAtMs - 900,
    endedAtMs,
    timeToFirstTokenMs: 80.5,
    durationMs: 900,
    outcome: 'completed',
    status: 200,
    clientRetry: 0,
    tokens: { input: 100, cachedInput: 0, output: 20, reasoning: null },
    tokenSource: 'reported',
    profileSource: 'declared',
    charges: [],
    ...fields,
  };
}
