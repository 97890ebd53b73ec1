// An engine of another shape than the work model: an iteration takes the longer of its arithmetic and its memory traffic.
// Not here: the linear engine (src/simulator/iteration-cost.ts), and which engines are measured (engine-shapes.ts).
import type { CostOfIteration, IterationCoefficients, IterationWork } from '#simulator/iteration-cost.ts';

/** Parts of the coefficients that are launch and scheduling time, which neither arithmetic nor memory hides. */
const LAUNCH_PART = 0.15;
const SEQUENCE_PART = 0.3;
/** Orders of arrival over which the marginal times of prefill chunks are averaged; a prime, so that its multiples are a lattice. */
const ORDERS = 31;
const LATTICE_STEP = 12;

/** What the roofline reads from the five coefficients, ms. */
interface Roofline {
  readonly launchMs: number;
  readonly weightsMs: number;
  readonly perSequenceMs: number;
}

interface MemberCost {
  readonly computeMs: number;
  readonly memoryMs: number;
}

/**
 * T = launch + h·n + max(Σ C_i, M_w + Σ M_i), times `noise`: C_i the arithmetic of a member, M_i its reads of the KV cache, M_w the reading
 * of the weights. The shares are Shapley values: launch, M_w and h·n divide evenly; what is left is the game w(S) = max(C(S) − M_w, M(S)),
 * played as an oceanic game (Milnor and Shapley 1978): each prefill chunk arrives at an instant of its own, the many small decode steps as a
 * stream over [0, 1], and everyone pays by how much the time grows when he comes, averaged over 31 arrangements of the chunks. The shares sum
 * to T, and lie within 2 % of it of Shapley values by permutations (roofline-cost.test.ts).
 */
export const costOfRoofline: CostOfIteration = (works, coefficients, noise) => {
  if (works.length === 0) return { durationMs: 0, sharesMs: [] };
  const roofline = readRoofline(coefficients);
  const members = works.map((work) => ({ ...costOfMember(work, coefficients), isChunk: work.prefillTokens > 0 }));
  const chunks = members.filter((member) => member.isChunk);
  const stream = sumCosts(members.filter((member) => !member.isChunk));
  const { computePart, marginalsMs } = playGame(chunks, stream, roofline.weightsMs);
  const marginals = marginalsMs.values();
  const evenMs = (roofline.launchMs + roofline.weightsMs) / works.length + roofline.perSequenceMs;
  const sharesMs = members.map((member) => {
    const ownMs = member.isChunk
      ? (marginals.next().value ?? 0)
      : computePart * member.computeMs + (1 - computePart) * member.memoryMs;
    return (evenMs + ownMs) * noise;
  });
  return { durationMs: sharesMs.reduce((sum, shareMs) => sum + shareMs, 0), sharesMs };
};

/** Time of an iteration of these members, ms, without noise: the game whose value the shares are. No members take no time. */
export function rooflineMs(works: readonly IterationWork[], coefficients: IterationCoefficients): number {
  if (works.length === 0) return 0;
  const { launchMs, weightsMs, perSequenceMs } = readRoofline(coefficients);
  const { computeMs, memoryMs } = sumCosts(works.map((work) => costOfMember(work, coefficients)));
  return launchMs + perSequenceMs * works.length + Math.max(computeMs, weightsMs + memoryMs);
}

/** Mean part of the stream's arrival in which arithmetic is the longer, and the mean marginal time of each chunk. */
function playGame(
  chunks: readonly MemberCost[],
  stream: MemberCost,
  weightsMs: number,
): { readonly computePart: number; readonly marginalsMs: readonly number[] } {
  const marginalsMs = chunks.map(() => 0);
  if (chunks.length === 0)
    return { computePart: measureAbove(-weightsMs, stream.computeMs - weightsMs - stream.memoryMs), marginalsMs };
  let computePart = 0;
  for (let order = 0; order < ORDERS; order += 1) {
    const arrivals = chunks
      .map((chunk, index) => ({ chunk, index, at: arrivalOf(order, index) }))
      .toSorted((a, b) => a.at - b.at);
    let passed = 0;
    let computeMs = -weightsMs;
    let memoryMs = 0;
    for (const { chunk, index, at } of arrivals) {
      computePart += countCompute({ computeMs, memoryMs }, stream, [passed, at]) / ORDERS;
      const computeAtMs = computeMs + at * stream.computeMs;
      const memoryAtMs = memoryMs + at * stream.memoryMs;
      const grownMs =
        Math.max(computeAtMs + chunk.computeMs, memoryAtMs + chunk.memoryMs) - Math.max(computeAtMs, memoryAtMs);
      marginalsMs[index] = (marginalsMs[index] ?? 0) + grownMs / ORDERS;
      computeMs += chunk.computeMs;
      memoryMs += chunk.memoryMs;
      passed = at;
    }
    computePart += countCompute({ computeMs, memoryMs }, stream, [passed, 1]) / ORDERS;
  }
  return { computePart, marginalsMs };
}

/** Instants of a rank-one lattice: each chunk's are evenly spread over [0, 1], and those of two chunks are not in step. */
function arrivalOf(order: number, chunk: number): number {
  let multiple = order;
  for (let step = 0; step < chunk; step += 1) multiple = (multiple * LATTICE_STEP + step) % ORDERS;
  return (multiple + 0.5) / ORDERS;
}

/** Length of the part of [from, to] in which arithmetic is the longer, while the stream arrives on top of what is there. */
function countCompute(there: MemberCost, stream: MemberCost, [from, to]: readonly [number, number]): number {
  const lead = (at: number): number => there.computeMs - there.memoryMs + at * (stream.computeMs - stream.memoryMs);
  return (to - from) * measureAbove(lead(from), lead(to));
}

/** Part of a straight line between two values that lies above zero. */
function measureAbove(from: number, to: number): number {
  if (from <= 0 && to <= 0) return 0;
  if (from > 0 && to > 0) return 1;
  return Math.max(from, to) / (Math.abs(from) + Math.abs(to));
}

function sumCosts(costs: readonly MemberCost[]): MemberCost {
  let computeMs = 0;
  let memoryMs = 0;
  for (const cost of costs) {
    computeMs += cost.computeMs;
    memoryMs += cost.memoryMs;
  }
  return { computeMs, memoryMs };
}

/** The linear coefficients seen from their two ends: t0 is launch and weights, d scheduling and the arithmetic of one token. */
function readRoofline(coefficients: IterationCoefficients): Roofline {
  return {
    launchMs: LAUNCH_PART * coefficients.iterationMs,
    weightsMs: (1 - LAUNCH_PART) * coefficients.iterationMs,
    perSequenceMs: SEQUENCE_PART * coefficients.decodeStepMs,
  };
}

/** A decode step's token costs the arithmetic of a prefill token; a prefill chunk reads the context it attends to once. */
function costOfMember(work: IterationWork, coefficients: IterationCoefficients): MemberCost {
  const { prefillTokens, contextTokens } = work;
  const ownMs = (1 - SEQUENCE_PART) * coefficients.decodeStepMs;
  const readMs = coefficients.contextTokenMs * contextTokens;
  if (prefillTokens === 0) return { computeMs: coefficients.prefillTokenMs, memoryMs: ownMs + readMs };
  const attentionMs = coefficients.prefillContextMs * prefillTokens * (contextTokens + prefillTokens / 2);
  return { computeMs: coefficients.prefillTokenMs * prefillTokens + attentionMs, memoryMs: readMs };
}
