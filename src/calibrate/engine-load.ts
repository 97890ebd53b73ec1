// Whether the engine serves others, by its own account: gauges of requests, counters of tokens, TensorRT-LLM's iteration rows.
import { setTimeout as sleep } from 'node:timers/promises';
import { type EngineLink, getText } from './engine-link.ts';

/** Gauges of requests running or waiting, by engine (upstreams.md §3.5, §5.1, §5.4). */
const REQUEST_GAUGES = [
  /^(?:vllm:)?num_requests_(?:running|waiting)$/,
  /^tgi_(?:queue_size|batch_current_size)$/,
  /^nv_inference_pending_request_count$/,
];
const TRITON_GAUGE = 'nv_trt_llm_request_metrics';
const TRITON_TYPES = /request_type="(?:active|waiting|scheduled)"/;
const PROMPT_COUNTERS = new Set(['vllm:prompt_tokens_total', 'prompt_tokens_total']);
const METRICS_PATHS: Readonly<Record<string, string>> = { nim: '/v1/metrics' };

/** What the metrics said at one moment; null where the engine does not tell. */
export interface EngineLoad {
  readonly requests: number | null;
  /** Prompt tokens since the engine started. */
  readonly promptTokens: number | null;
}

/** Reads the Prometheus page. TensorRT-LLM's page of that name is not touched here: reading empties it. */
export async function readEngineLoad(link: EngineLink): Promise<EngineLoad> {
  if (link.engine === 'tensorrt-llm') return { requests: null, promptTokens: null };
  return parseEngineLoad((await getText(link, METRICS_PATHS[link.engine] ?? '/metrics')) ?? '');
}

/** From Prometheus text; pure. */
export function parseEngineLoad(page: string): EngineLoad {
  let requests: number | null = null;
  let promptTokens: number | null = null;
  for (const line of page.split('\n')) {
    const match = /^([A-Za-z_:][\w:]*)(\{.*\})?\s+(\S+)/.exec(line);
    if (match === null) continue;
    const [, name = '', labels = '', text = ''] = match;
    const value = Number(text);
    if (!Number.isFinite(value)) continue;
    const isGauge =
      REQUEST_GAUGES.some((pattern) => pattern.test(name)) || (name === TRITON_GAUGE && TRITON_TYPES.test(labels));
    if (isGauge) requests = (requests ?? 0) + value;
    if (PROMPT_COUNTERS.has(name)) promptTokens = (promptTokens ?? 0) + value;
  }
  return { requests, promptTokens };
}

/** Long enough for an engine that serves anybody to finish an iteration, ms. */
const STATISTICS_WAIT_MS = 400;

/** Whether TensorRT-LLM worked between two reads of its iteration rows; null where they may not be read or are not kept. Empties them. */
export async function readDrainedActivity(link: EngineLink): Promise<boolean | null> {
  if (link.engine !== 'tensorrt-llm' || !link.mayDrainStatistics) return null;
  if (parseRows(await getText(link, '/metrics')) === undefined) return null;
  await sleep(STATISTICS_WAIT_MS);
  const rows = parseRows(await getText(link, '/metrics'));
  return rows === undefined ? null : rows.some((row) => countOf(row, 'numActiveRequests') > 0);
}

function parseRows(text: string | undefined): readonly unknown[] | undefined {
  try {
    const parsed: unknown = JSON.parse(text ?? '');
    return Array.isArray(parsed) ? parsed : undefined;
  } catch {
    // Prometheus text, or nothing.
    return undefined;
  }
}

function countOf(row: unknown, field: string): number {
  const value = typeof row === 'object' && row !== null ? (row as Record<string, unknown>)[field] : undefined;
  return typeof value === 'number' ? value : 0;
}
