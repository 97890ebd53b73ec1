// TensorRT-LLM's iteration rows as its `/metrics` answers them (upstreams.md §1.8): JSON to numbers, whatever fields this version has.
// Not here: what they mean for busy time (iteration-coverage.ts) and for the profile (iteration-profile.ts).
import { type Fields, parseList, readFields, readNumber } from './statistics-fields.ts';

/** One forward pass of the engine. Null is unknown. */
export interface IterationRow {
  /** Number of the iteration, counting from the engine's start. */
  readonly iteration: number | null;
  /** When the row was written, ms of the engine host's clock in an unknown time zone: only differences mean anything. */
  readonly writtenMs: number | null;
  /** GPU time of the iteration, ms: the best that this version tells. */
  readonly gpuMs: number | null;
  /** `gpuForwardTimeMS` alone, from the very events that entries of `/perf_metrics` are measured by; null where this version has none. */
  readonly forwardMs: number | null;
  /** Prompt tokens prefilled, and sequences that prefilled and decoded in it. */
  readonly prefillTokens: number;
  readonly prefilling: number;
  readonly decoding: number;
  /** Tokens in the KV cache of running sequences, by its blocks; null where the version does not tell. */
  readonly cachedTokens: number | null;
  /** Tokens of one such block. */
  readonly blockTokens: number | null;
}

/**
 * The rows of one answer in their order, those of attention rank 0 only (the ranks of one engine run in step); null where the text is not a
 * list: Prometheus text, an error, or another server. Entries that are no objects are left out.
 */
export function parseIterationRows(text: string): readonly IterationRow[] | null {
  const list = parseList(text);
  if (list === null) return null;
  const rows = list.objects.filter((row) => (readNumber(row, 'attentionDpRank') ?? 0) === 0);
  return rows.map((row, index) => toRow(row, rows[index + 1]));
}

function toRow(row: Fields, next: Fields | undefined): IterationRow {
  const batch = readFields(row, 'inflightBatchingStats');
  const cache = readFields(row, 'kvCacheStats');
  const blocks = readNumber(cache, 'usedNumBlocks');
  const perBlock = readNumber(cache, 'tokensPerBlock');
  return {
    iteration: readNumber(row, 'iter'),
    writtenMs: parseTimestamp(row['timestamp']),
    gpuMs: readGpuMs(row, next),
    forwardMs: readNumber(row, 'gpuForwardTimeMS'),
    prefillTokens: readNumber(batch, 'numCtxTokens') ?? 0,
    prefilling: readNumber(batch, 'numContextRequests') ?? 0,
    decoding: readNumber(batch, 'numGenRequests') ?? 0,
    cachedTokens: blocks === null || perBlock === null ? null : blocks * perBlock,
    blockTokens: perBlock,
  };
}

/**
 * `gpuForwardTimeMS`, else the next row's `prevDeviceStepTimeMS`, which tells of this one, else `hostStepTimeMS`. With the overlap scheduler, the
 * default, `iterLatencyMS` spans about two loops, so that it counts only where the scheduler says it does not overlap.
 */
function readGpuMs(row: Fields, next: Fields | undefined): number | null {
  const forward = readNumber(row, 'gpuForwardTimeMS');
  if (forward !== null) return forward;
  const follows = next !== undefined && readNumber(next, 'iter') === (readNumber(row, 'iter') ?? Number.NaN) + 1;
  const device = follows ? readNumber(next, 'prevDeviceStepTimeMS') : null;
  if (device !== null) return device;
  const host = readNumber(row, 'hostStepTimeMS');
  if (host !== null) return host;
  return row['schedulerMode'] === 'non_overlap' ? readNumber(row, 'iterLatencyMS') : null;
}

/** `11-22-2026 10:00:00.123456` as if it were UTC; null for any other shape. */
function parseTimestamp(value: unknown): number | null {
  const match = /^(\d\d)-(\d\d)-(\d{4}) (\d\d):(\d\d):(\d\d)(\.\d+)?$/.exec(typeof value === 'string' ? value : '');
  if (match === null) return null;
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second) + Number(match[7] ?? 0) * 1000;
}
