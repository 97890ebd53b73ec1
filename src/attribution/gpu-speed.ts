// Arithmetic and memory speed of GPUs by name, for starting profiles. Not prices, not power. One table, dense figures of the vendors' data sheets.

/** Of one GPU. */
export interface GpuSpeed {
  /** Dense bf16 (fp16 where there is no bf16), operations per second. */
  readonly halfFlops: number;
  /** Dense 8-bit, operations per second; the half-precision figure where the GPU has no faster 8-bit path for engines. */
  readonly eightBitFlops: number;
  /** Bytes per second. */
  readonly memoryBandwidth: number;
}

/** [pattern, TFLOP/s half, TFLOP/s 8-bit, TB/s]; the first pattern that matches the normalised name wins. */
const TABLE: readonly (readonly [pattern: RegExp, half: number, eightBit: number, bandwidth: number])[] = [
  [/^GB300|^B300/, 2500, 5000, 8],
  [/^GB200/, 2500, 5000, 8],
  [/^B200/, 2250, 4500, 8],
  [/^B100/, 1750, 3500, 8],
  [/^GH200/, 989.5, 1979, 4.8],
  [/^H200/, 989.5, 1979, 4.8],
  [/^H100.*NVL/, 835, 1671, 3.9],
  [/^H100.*PCIE/, 756, 1513, 2],
  [/^H100/, 989.5, 1979, 3.35],
  [/^H800/, 989.5, 1979, 3.35],
  [/^H20(-|$)/, 148, 296, 4],
  [/^A100.*40/, 312, 312, 1.555],
  [/^A100.*PCIE/, 312, 312, 1.935],
  [/^A[18]00/, 312, 312, 2.04],
  [/^A30(-|$)/, 165, 165, 0.933],
  [/^A40(-|$)/, 149.7, 149.7, 0.696],
  [/^A10G/, 70, 70, 0.6],
  [/^A10(-|$)/, 125, 125, 0.6],
  [/^L40S/, 362, 733, 0.864],
  [/^L40/, 181, 362, 0.864],
  [/^L4(-|$)/, 121, 242, 0.3],
  [/^RTX-?(PRO-)?6000-?ADA/, 364, 728, 0.96],
  [/^(RTX-)?A6000/, 155, 155, 0.768],
  [/4090/, 165, 330, 1.008],
  [/3090/, 71, 71, 0.936],
  [/^V100/, 125, 125, 0.9],
  [/^T4(-|$)/, 65, 65, 0.32],
  [/^MI325X/, 1307, 2615, 6],
  [/^MI300X/, 1307, 2615, 5.3],
];

/**
 * Speed of a GPU by its name in the config, in any spelling (`H100-SXM`, `NVIDIA H100 80GB HBM3`, `h100_pcie`); undefined where the name is
 * not known. Sources: reference/attribution-and-finops.md §2.1 (H100, A100, L40S), the vendors' data sheets for the others.
 */
export function findGpuSpeed(name: string): GpuSpeed | undefined {
  const normalised = name
    .toUpperCase()
    .replaceAll(/[\s_]+/g, '-')
    .replace(/^(NVIDIA|AMD)-/, '')
    .replace(/^(TESLA|GEFORCE|INSTINCT)-/, '');
  const row = TABLE.find(([pattern]) => pattern.test(normalised));
  if (row === undefined) return undefined;
  const [, half, eightBit, bandwidth] = row;
  return { halfFlops: half * 1e12, eightBitFlops: eightBit * 1e12, memoryBandwidth: bandwidth * 1e12 };
}
