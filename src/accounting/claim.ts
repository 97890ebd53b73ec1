// Prices what a journal was given: each share split among the attempts that worked in its window, down to phases.
// Not here: the rollup increments of a claim (claim-increments.ts), whether it was applied (sync-loop.ts).
import { splitInOrder } from '#attribution/split-exactly.ts';
import { parseFrozenWeights, phaseWeights, weightOf } from '#attribution/work-model.ts';
import type {
  ChargeLine,
  Claim,
  Phase,
  SettledRecordJson,
  ShareEntry,
  ShareWindow,
  SyncReply,
} from '#domain/settlement.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import { hourOf } from '#domain/window.ts';
import { type AttemptRegistry, hourPool } from './attempt-registry.ts';
import { ClaimIncrements } from './claim-increments.ts';
import type { SealedSlice, SealedSlices } from './sealed-slices.ts';
import { eachInSteps, type SlicedWork } from './sliced-work.ts';
import { addCharge, type HourCharge, type HourCharges, settledRecord, type TrackedAttempt } from './tracked-attempt.ts';

const PHASES: readonly Phase[] = ['prefill', 'decode', 'other'];
/** Slices that one claim prices at most, where it takes more than one freeze: about 8 MB of records and lines. */
const SLICES_PER_CLAIM_MAX = 8000;
/** Records without a line in the claim that it settles at most: requests that never reached an engine, and those of earlier claims. */
const BARE_RECORDS_MAX = 8000;
const NO_CHARGES: Readonly<HourCharges> = [];

export interface ClaimInput {
  /** Freezes already claimed. */
  readonly k0: number;
  /** Last freeze to claim, its last window and its chain hash. */
  readonly through: { readonly k: number; readonly to: number; readonly hash: string };
  readonly shares: readonly ShareEntry[];
  readonly slices: SealedSlices;
  readonly registry: AttemptRegistry;
}

/** A claim with the prices its lines were made at; they stay in this process's journal. */
export interface BuiltClaim {
  readonly claim: Claim;
  readonly prices: Map<string, bigint>;
}

/** How far a claim reaches; `isCut` where more waits than one claim takes. */
export interface ClaimReach {
  readonly through: ClaimInput['through'];
  readonly isCut: boolean;
}

/**
 * The freezes that the next claim takes: as many as hold a bounded number of this journal's slices, at least one. Cut short it ends with a freeze
 * that gave this journal something; else it takes those behind the last share as well.
 */
export function reachOfClaim(
  { claimed, shares, sharesThrough }: Pick<SyncReply, 'claimed' | 'shares' | 'sharesThrough'>,
  slices: Pick<SealedSlices, 'count'>,
): ClaimReach {
  let last: ShareEntry | null = null;
  let held = 0;
  for (const entry of shares) {
    if (entry.k <= claimed) continue;
    for (const window of new Set(entry.windows.map((share) => share.window))) held += slices.count(window);
    if (last !== null && held > SLICES_PER_CLAIM_MAX) {
      const { k, to, hash } = last;
      return { through: { k, to, hash }, isCut: true };
    }
    last = entry;
  }
  return { through: sharesThrough, isCut: false };
}

/**
 * Claims the shares of freezes (k0 … through.k]: line_i = split(share, W_i), its phases and GPU microseconds by the same function.
 * Throws RangeError when the lines do not add up to the shares. Source: settlement.md, Arithmetic.
 */
export function* buildClaim(input: ClaimInput): SlicedWork<BuiltClaim> {
  const shares = input.shares.filter((entry) => entry.k > input.k0 && entry.k <= input.through.k);
  const windows = shares.flatMap((entry) => entry.windows).filter(isWorthSplitting);
  const slices = indexSlices(input.slices, windows);
  const lines: ChargesById = new Map();
  const prices = new Map<string, bigint>();
  const pools = new Map<string, bigint>();
  for (const share of windows) {
    const key = hourPool(hourOf(share.window), share.pool);
    prices.set(key, BigInt(share.nanoUsdPerGpuHour));
    pools.set(key, (pools.get(key) ?? 0n) + BigInt(share.nanoUsd));
    yield* splitShare(share, slices.get(share.window)?.get(share.pool) ?? [], { lines, registry: input.registry });
  }
  const { chargeLines, lineSum, increments } = yield* readLines(lines, input.registry);
  const totalNanoUsd = shares.reduce((sum, entry) => sum + BigInt(entry.totalNanoUsd), 0n);
  if (lineSum !== totalNanoUsd) throw new RangeError(`claim lines sum to ${lineSum}, shares to ${totalNanoUsd}`);
  const records = yield* settleRecords(input, lines, increments);
  const claim: Claim = {
    k0: input.k0,
    k: input.through.k,
    hash: input.through.hash,
    totalNanoUsd: totalNanoUsd.toString(),
    lines: chargeLines,
    increments: increments.read(),
    pools: [...pools].map(([key, nanoUsd]) => {
      const [hour, pool] = key.split('\n');
      return { hour: Number(hour), pool: pool ?? '', nanoUsd: nanoUsd.toString() };
    }),
    records,
  };
  return { claim, prices };
}

/** By record. */
type ChargesById = Map<string, HourCharges>;

/** True when a claim up to the window `to` holds the last money of the attempt. */
export function settlesThrough(attempt: TrackedAttempt, to: number): boolean {
  return (
    attempt.record !== null && attempt.features === null && attempt.lastWindow !== null && attempt.lastWindow <= to
  );
}

function isWorthSplitting(share: ShareWindow): boolean {
  return share.nanoUsd !== '0' || share.gpuMicros !== '0';
}

/** Slices of the windows to be split, by window and pool. */
function indexSlices(slices: SealedSlices, windows: readonly ShareWindow[]): Map<number, Map<string, SealedSlice[]>> {
  const index = new Map<number, Map<string, SealedSlice[]>>();
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (const { window, pool } of windows) {
    const pools = index.get(window);
    if (pools === undefined) index.set(window, new Map([[pool, []]]));
    else pools.set(pool, []);
    from = Math.min(from, window);
    to = Math.max(to, window);
  }
  if (windows.length > 0) {
    for (const slice of slices.read(from, to)) index.get(slice.window)?.get(slice.pool)?.push(slice);
  }
  return index;
}

/** Adds one share's money and GPU time to the charges of the attempts that worked in its window. */
function* splitShare(
  share: ShareWindow,
  slices: readonly SealedSlice[],
  target: { readonly lines: ChargesById; readonly registry: AttemptRegistry },
): SlicedWork<void> {
  const frozen = share.weights === null ? null : parseFrozenWeights(share.weights);
  const known: { readonly slice: SealedSlice; readonly attempt: TrackedAttempt }[] = [];
  const ids: string[] = [];
  const weights: bigint[] = [];
  yield* eachInSteps(frozen === null ? [] : slices, (slice) => {
    const attempt = target.registry.get(slice.recordId);
    if (attempt === undefined) return;
    known.push({ slice, attempt });
    ids.push(slice.recordId);
    weights.push(notBelowZero(weightOf(slice.features, frozen?.get(slice.deployment))));
  });
  const nanoUsd = BigInt(share.nanoUsd);
  const gpuMicros = BigInt(share.gpuMicros);
  const place = { hour: hourOf(share.window), nanoUsdPerGpuHour: BigInt(share.nanoUsdPerGpuHour) };
  if (!weights.some((weight) => weight > 0n)) {
    // Their slices are lost, but a share must be claimed whole.
    const parts = { nanoUsd: [0n, 0n, nanoUsd], gpuMicros: [0n, 0n, gpuMicros] };
    chargeParts(target.lines, UNATTRIBUTED, parts, { ...place, deployment: null });
    return;
  }
  const nano = splitInOrder(nanoUsd, ids, weights);
  yield;
  const gpu = splitInOrder(gpuMicros, ids, weights);
  let index = -1;
  yield* eachInSteps(known, ({ slice, attempt }) => {
    index += 1;
    const nanoPart = nano[index] ?? 0n;
    const gpuPart = gpu[index] ?? 0n;
    if (nanoPart === 0n && gpuPart === 0n) return;
    const { prefill, decode, other } = phaseWeights(slice.features, frozen?.get(slice.deployment));
    const phases = [prefill, decode, other].map(notBelowZero);
    const parts = {
      nanoUsd: splitInOrder(nanoPart, PHASES, phases),
      gpuMicros: splitInOrder(gpuPart, PHASES, phases),
    };
    const deployment = slice.deployment === attempt.start?.deployment ? null : slice.deployment;
    chargeParts(target.lines, slice.recordId, parts, { ...place, deployment });
  });
}

/** A journal may hold slices from before they were made sound (sound-slice.ts): they must not keep everybody's money waiting. */
function notBelowZero(weight: bigint): bigint {
  return weight < 0n ? 0n : weight;
}

/** Adds parts in the order of PHASES. */
function chargeParts(
  lines: ChargesById,
  recordId: string,
  parts: { readonly nanoUsd: readonly bigint[]; readonly gpuMicros: readonly bigint[] },
  place: Pick<HourCharge, 'hour' | 'deployment' | 'nanoUsdPerGpuHour'>,
): void {
  let charges = lines.get(recordId);
  if (charges === undefined) lines.set(recordId, (charges = []));
  for (let index = 0; index < PHASES.length; index += 1) {
    const phase = PHASES[index];
    const nanoUsd = parts.nanoUsd[index] ?? 0n;
    const gpuMicros = parts.gpuMicros[index] ?? 0n;
    if (phase === undefined || (nanoUsd === 0n && gpuMicros === 0n)) continue;
    const { nanoUsdPerGpuHour } = place;
    addCharge(charges, place, { phase, nanoUsd, gpuMicros, nanoUsdPerGpuHour });
  }
}

/** The lines of a claim, their sum, and the increments of their money. */
function* readLines(
  lines: ChargesById,
  registry: AttemptRegistry,
): SlicedWork<{ readonly chargeLines: ChargeLine[]; readonly lineSum: bigint; readonly increments: ClaimIncrements }> {
  const increments = new ClaimIncrements();
  const chargeLines: ChargeLine[] = [];
  let lineSum = 0n;
  yield* eachInSteps(lines, ([recordId, charges]) => {
    increments.addCost(registry.get(recordId) ?? null, charges);
    for (const charge of charges) {
      const { hour, deployment } = charge;
      for (const phase of PHASES) {
        const nanoUsd = charge.nanoUsd[phase];
        const gpuMicros = charge.gpuMicros[phase];
        if (nanoUsd === 0n && gpuMicros === 0n) continue;
        lineSum += nanoUsd;
        chargeLines.push({
          recordId,
          hour,
          ...(deployment === null ? null : { deployment }),
          phase,
          costNanoUsd: nanoUsd.toString(),
          gpuMicros: gpuMicros.toString(),
        });
      }
    }
  });
  return { chargeLines, lineSum, increments };
}

/** Records whose money is complete with these lines; of those without any the oldest, the others go with later claims. */
function* settleRecords(
  input: ClaimInput,
  lines: ChargesById,
  increments: ClaimIncrements,
): SlicedWork<SettledRecordJson[]> {
  const records: SettledRecordJson[] = [];
  let bare = 0;
  yield* eachInSteps(input.registry.all(), (attempt) => {
    if (attempt.record === null || !settlesThrough(attempt, input.through.to)) return;
    const own = lines.get(attempt.recordId);
    if (own === undefined && (bare += 1) > BARE_RECORDS_MAX) return;
    const charges = mergeCharges(attempt.charges, own);
    increments.addSettled(attempt.record, charges);
    records.push(settledRecord(attempt.record, attempt, charges));
  });
  return records;
}

function mergeCharges(before: HourCharges | null, now: HourCharges | undefined): Readonly<HourCharges> {
  if (before === null || now === undefined) return before ?? now ?? NO_CHARGES;
  const merged: HourCharges = [];
  for (const charge of [...before, ...now]) {
    for (const phase of PHASES) {
      const { nanoUsdPerGpuHour } = charge;
      const part = { phase, nanoUsd: charge.nanoUsd[phase], gpuMicros: charge.gpuMicros[phase], nanoUsdPerGpuHour };
      addCharge(merged, charge, part);
    }
  }
  return merged;
}
