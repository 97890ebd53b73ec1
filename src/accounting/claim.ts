// Prices what a journal was given: each share split among the attempts that worked in its window, down to phases.
// Not here: the rollup increments of a claim (claim-increments.ts), whether it was applied (sync-loop.ts).
import { splitExactly } from '#attribution/split-exactly.ts';
import { parseFrozenWeights, phaseWeights, weightOf } from '#attribution/work-model.ts';
import type { ChargeLine, Claim, Phase, ShareEntry, ShareWindow } from '#domain/settlement.ts';
import { hourOf } from '#domain/window.ts';
import { type AttemptRegistry, hourPool } from './attempt-registry.ts';
import { ClaimIncrements } from './claim-increments.ts';
import type { SealedSlice, SealedSlices } from './sealed-slices.ts';
import { addCharge, type HourCharge, settledRecord, type TrackedAttempt } from './tracked-attempt.ts';

/** Record id and team of money whose slices are lost: a share must be claimed whole. */
export const UNATTRIBUTED = '(unattributed)';

const PHASES: readonly Phase[] = ['prefill', 'decode', 'other'];

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

/**
 * Claims the shares of freezes (k0 … through.k]: line_i = split(share, W_i), its phases and GPU microseconds by the same function.
 * Throws RangeError when the lines do not add up to the shares. Source: settlement.md, Arithmetic.
 */
export function buildClaim(input: ClaimInput): BuiltClaim {
  const shares = input.shares.filter((entry) => entry.k > input.k0 && entry.k <= input.through.k);
  const windows = shares.flatMap((entry) => entry.windows).filter(isWorthSplitting);
  const slices = indexSlices(input.slices, windows);
  const lines = new Map<string, Map<number, HourCharge>>();
  const prices = new Map<string, bigint>();
  const pools = new Map<string, bigint>();
  for (const share of windows) {
    const key = hourPool(hourOf(share.window), share.pool);
    prices.set(key, BigInt(share.nanoUsdPerGpuHour));
    pools.set(key, (pools.get(key) ?? 0n) + BigInt(share.nanoUsd));
    splitShare(share, slices.get(windowPool(share)) ?? [], lines, input.registry);
  }
  const increments = new ClaimIncrements();
  for (const [recordId, charges] of lines) increments.addCost(input.registry.get(recordId) ?? null, charges);
  const settled = [...input.registry.all()].filter((attempt) => settlesThrough(attempt, input.through.to));
  const records = settled.flatMap((attempt) => {
    if (attempt.record === null) return [];
    const charges = mergeCharges(attempt.charges, lines.get(attempt.recordId));
    increments.addSettled(attempt.record, charges);
    return [settledRecord(attempt.record, charges)];
  });
  const totalNanoUsd = shares.reduce((sum, entry) => sum + BigInt(entry.totalNanoUsd), 0n);
  const chargeLines = [...lines].flatMap(([recordId, charges]) => toLines(recordId, charges));
  const lineSum = chargeLines.reduce((sum, line) => sum + BigInt(line.costNanoUsd), 0n);
  if (lineSum !== totalNanoUsd) throw new RangeError(`claim lines sum to ${lineSum}, shares to ${totalNanoUsd}`);
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

/** True when a claim up to the window `to` holds the last money of the attempt. */
export function settlesThrough(attempt: TrackedAttempt, to: number): boolean {
  return (
    attempt.record !== null && attempt.features === null && attempt.lastWindow !== null && attempt.lastWindow <= to
  );
}

function isWorthSplitting(share: ShareWindow): boolean {
  return share.nanoUsd !== '0' || share.gpuMicros !== '0';
}

function windowPool(part: { readonly window: number; readonly pool: string }): string {
  return `${part.window}\n${part.pool}`;
}

function indexSlices(slices: SealedSlices, windows: readonly ShareWindow[]): Map<string, SealedSlice[]> {
  const index = new Map<string, SealedSlice[]>();
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (const share of windows) {
    index.set(windowPool(share), []);
    from = Math.min(from, share.window);
    to = Math.max(to, share.window);
  }
  for (const slice of windows.length === 0 ? [] : slices.read(from, to)) index.get(windowPool(slice))?.push(slice);
  return index;
}

/** Adds one share's money and GPU time to the charges of the attempts that worked in its window. */
function splitShare(
  share: ShareWindow,
  slices: readonly SealedSlice[],
  lines: Map<string, Map<number, HourCharge>>,
  registry: AttemptRegistry,
): void {
  const hour = hourOf(share.window);
  const nanoUsdPerGpuHour = BigInt(share.nanoUsdPerGpuHour);
  const weights = share.weights === null ? null : parseFrozenWeights(share.weights);
  const known = weights === null ? [] : slices.filter((slice) => registry.get(slice.recordId) !== undefined);
  const parts = known.map(
    (slice) => [slice.recordId, weightOf(slice.features, weights?.get(slice.deployment))] as const,
  );
  const whole = parts.some(([, weight]) => weight > 0n);
  const charge = (recordId: string, phase: Phase, nanoUsd: bigint, gpuMicros: bigint) => {
    if (nanoUsd === 0n && gpuMicros === 0n) return;
    let charges = lines.get(recordId);
    if (charges === undefined) lines.set(recordId, (charges = new Map()));
    addCharge(charges, hour, { phase, nanoUsd, gpuMicros, nanoUsdPerGpuHour });
  };
  if (!whole) {
    charge(UNATTRIBUTED, 'other', BigInt(share.nanoUsd), BigInt(share.gpuMicros));
    return;
  }
  const nano = splitExactly(BigInt(share.nanoUsd), parts);
  const gpu = splitExactly(BigInt(share.gpuMicros), parts);
  for (const slice of known) {
    const byPhase = phaseWeights(slice.features, weights?.get(slice.deployment));
    const phaseParts = PHASES.map((phase) => [phase, byPhase[phase]] as const);
    const nanoByPhase = splitExactly(nano.get(slice.recordId) ?? 0n, phaseParts);
    const gpuByPhase = splitExactly(gpu.get(slice.recordId) ?? 0n, phaseParts);
    for (const phase of PHASES)
      charge(slice.recordId, phase, nanoByPhase.get(phase) ?? 0n, gpuByPhase.get(phase) ?? 0n);
  }
}

function mergeCharges(
  before: ReadonlyMap<number, HourCharge>,
  now: ReadonlyMap<number, HourCharge> | undefined,
): Map<number, HourCharge> {
  const merged = new Map<number, HourCharge>();
  for (const [hour, charge] of [...before, ...(now ?? [])]) {
    for (const phase of PHASES) {
      const { nanoUsdPerGpuHour } = charge;
      const part = { phase, nanoUsd: charge.nanoUsd[phase], gpuMicros: charge.gpuMicros[phase], nanoUsdPerGpuHour };
      addCharge(merged, hour, part);
    }
  }
  return merged;
}

function toLines(recordId: string, charges: ReadonlyMap<number, HourCharge>): ChargeLine[] {
  return [...charges].flatMap(([hour, charge]) =>
    PHASES.filter((phase) => charge.nanoUsd[phase] !== 0n || charge.gpuMicros[phase] !== 0n).map((phase) => ({
      recordId,
      hour,
      phase,
      costNanoUsd: charge.nanoUsd[phase].toString(),
      gpuMicros: charge.gpuMicros[phase].toString(),
    })),
  );
}
