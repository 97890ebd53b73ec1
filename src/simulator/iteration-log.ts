// Lives here: the engine's own statistics as its `/metrics` shows them: TensorRT-LLM's iteration rows (drained by
// reading), Prometheus text of vLLM and Triton. Not here: the truth per request (truth-book.ts).
import type { EngineCore, EngineSettings, Iteration } from './engine-core.ts';
import { blockTokens } from './pseudo-text.ts';

const rowsMax = 1000;

/** Remembers the newest thousand iterations and counts tokens and requests. */
export class IterationLog {
  /** Tokens prefilled and generated since the start. */
  promptTokens = 0;
  generatedTokens = 0;
  /** Requests answered to the end since the start, and those that were not. */
  requestsSucceeded = 0;
  requestsFailed = 0;
  readonly #settings: EngineSettings;
  #rows: Record<string, unknown>[] = [];

  constructor(settings: EngineSettings) {
    this.#settings = settings;
  }

  /** Adds an iteration that just ended. */
  append(iteration: Iteration, core: EngineCore): void {
    const context = iteration.members.filter((member) => member.prefillTokens > 0);
    const contextTokens = context.reduce((sum, member) => sum + member.prefillTokens, 0);
    const generating = iteration.members.length - context.length;
    this.promptTokens += contextTokens;
    // The last chunk of a prompt gives the first token of its answer.
    const opening = context.filter(({ sequence, prefillTokens }) => {
      const { order, prefilled, prefillTarget } = sequence;
      return order.outputTokens > 0 && prefilled + prefillTokens >= prefillTarget;
    });
    this.generatedTokens += generating + opening.length;
    if (this.#rows.length >= rowsMax) this.#rows.shift();
    const { total, used } = core.kvBlocks;
    this.#rows.push({
      timestamp: formatTimestamp(iteration.endMs),
      iter: iteration.number,
      iterLatencyMS: iteration.durationMs,
      numActiveRequests: core.runningSequences,
      numQueuedRequests: core.queuedSequences,
      maxNumActiveRequests: this.#settings.maxSequences,
      maxBatchSizeStatic: this.#settings.maxSequences,
      maxNumTokensStatic: this.#settings.tokenBudget,
      kvCacheStats: {
        maxNumBlocks: total,
        freeNumBlocks: total - used,
        usedNumBlocks: used,
        tokensPerBlock: blockTokens,
      },
      inflightBatchingStats: {
        numScheduledRequests: iteration.members.length,
        numContextRequests: context.length,
        numGenRequests: generating,
        numPausedRequests: 0,
        numCtxTokens: contextTokens,
        microBatchId: 0,
        avgNumDecodedTokensPerIter: 1,
      },
      staticBatchingStats: null,
      attentionDpRank: 0,
      hostStepTimeMS: iteration.durationMs,
      prevDeviceStepTimeMS: iteration.durationMs,
      gpuForwardTimeMS: iteration.durationMs,
      schedulerMode: 'non_overlap',
    });
  }

  /** TensorRT-LLM's iteration rows since the last read, which forgets them. */
  drainRows(): readonly Record<string, unknown>[] {
    const rows = this.#rows;
    this.#rows = [];
    return rows;
  }

  /** vLLM's Prometheus page. */
  renderVllm(model: string, core: EngineCore): string {
    const quoted = JSON.stringify(model);
    const labels = `{model_name=${quoted}}`;
    const { total, used } = core.kvBlocks;
    return renderFamilies([
      ['vllm:num_requests_running', 'gauge', labels, core.runningSequences],
      ['vllm:num_requests_waiting', 'gauge', labels, core.queuedSequences],
      ['vllm:kv_cache_usage_perc', 'gauge', labels, used / total],
      ['vllm:num_preemptions_total', 'counter', labels, core.preemptions],
      ['vllm:prompt_tokens_total', 'counter', labels, this.promptTokens],
      ['vllm:generation_tokens_total', 'counter', labels, this.generatedTokens],
      [
        'vllm:request_success_total',
        'counter',
        `{model_name=${quoted},finished_reason="stop"}`,
        this.requestsSucceeded,
      ],
    ]);
  }

  /** Triton's Prometheus page. */
  renderTriton(model: string, core: EngineCore): string {
    const quoted = JSON.stringify(model);
    const labels = `{model=${quoted},version="1"}`;
    return renderFamilies([
      ['nv_inference_request_success', 'counter', labels, this.requestsSucceeded],
      ['nv_inference_request_failure', 'counter', `{model=${quoted},reason="OTHER",version="1"}`, this.requestsFailed],
      ['nv_inference_exec_count', 'counter', labels, core.iterations],
      ['nv_inference_compute_infer_duration_us', 'counter', labels, Math.round(core.busyMs * 1000)],
      ['nv_inference_pending_request_count', 'gauge', labels, core.queuedSequences],
      [
        'nv_trt_llm_request_metrics',
        'gauge',
        `{model=${quoted},request_type="active",version="1"}`,
        core.runningSequences,
      ],
    ]);
  }
}

type MetricFamily = readonly [name: string, type: 'gauge' | 'counter', labels: string, value: number];

function renderFamilies(families: readonly MetricFamily[]): string {
  return families
    .map(
      ([name, type, labels, value]) => `# HELP ${name} Simulated.\n# TYPE ${name} ${type}\n${name}${labels} ${value}\n`,
    )
    .join('');
}

function formatTimestamp(epochMs: number): string {
  const [date = '', time = ''] = new Date(epochMs).toISOString().split('T');
  const [year, month, day] = date.split('-');
  return `${month}-${day}-${year} ${time.replace('Z', '000')}`;
}
