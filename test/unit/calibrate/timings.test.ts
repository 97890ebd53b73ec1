// From instants of tokens to step times, chunk sizes, and the engine's own word on its load.
import { describe, expect, it } from 'vitest';
import { readDecodeSegments } from '#src/calibrate/decode-segments.ts';
import { parseEngineLoad } from '#src/calibrate/engine-load.ts';
import { findChunkSize } from '#src/calibrate/find-chunk-size.ts';
import { createCalibrationRandom } from '#src/calibrate/seeded-random.ts';

/** Tokens at every end of an iteration from the `from`th to the `to`th, both included. */
const stream = (ends: readonly number[], from: number, to: number) => ({
  promptTokens: 100,
  tokenAtMs: ends.slice(from, to + 1),
  stepsPerEvent: 1,
});

describe('readDecodeSegments', () => {
  it('each number of running sequences gets its own step time, and starts of prompts count for none', () => {
    // Iterations of 50 ms while prompts are computed, then 12 ms with three running, 9 ms with one.
    const ends: number[] = [];
    for (let index = 0; index < 120; index += 1)
      ends.push((ends.at(-1) ?? 0) + (index < 5 ? 50 : index <= 60 ? 12 : 9));
    const segments = readDecodeSegments([stream(ends, 0, 60), stream(ends, 2, 60), stream(ends, 5, 119)]);
    expect(segments.map(({ batch }) => batch)).toEqual([3, 1]);
    expect(segments[0]?.stepMs).toBeCloseTo(12, 6);
    expect(segments[1]?.stepMs).toBeCloseTo(9, 6);
    // 100 + the tokens of each in the middle of the span from the 5th to the 60th iteration.
    expect(segments[0]?.contextTokens).toBeCloseTo(300 + 33.5 + 31.5 + 28.5, 6);
  });

  it('a late last instant shifts the mean by its lateness over all the steps only', () => {
    const ends = Array.from({ length: 101 }, (_, index) => index * 10 + (index === 100 ? 30 : 0));
    expect(readDecodeSegments([stream(ends, 0, 100)])[0]?.stepMs).toBeCloseTo(10.3, 6);
  });

  it('spans of a few steps, and streams that never began, give nothing', () => {
    const ends = Array.from({ length: 8 }, (_, index) => index * 10);
    expect(readDecodeSegments([stream(ends, 0, 7)])).toEqual([]);
    expect(readDecodeSegments([stream(ends, 0, 7), { promptTokens: 1, tokenAtMs: [], stepsPerEvent: 1 }])).toEqual([]);
    expect(readDecodeSegments([])).toEqual([]);
  });

  it('an engine that bundles four iterations into an event has steps a quarter as long', () => {
    const ends = Array.from({ length: 30 }, (_, index) => index * 40);
    expect(readDecodeSegments([{ ...stream(ends, 0, 29), stepsPerEvent: 4 }])[0]?.stepMs).toBeCloseTo(10, 6);
  });
});

describe('findChunkSize', () => {
  const random = createCalibrationRandom(4);
  /** What a companion sees of a prompt cut in chunks by an engine like Llama 8B on an H100. */
  const observe = (promptTokens: number, chunk: number, jitterMs = 0.8) => {
    const gapsMs = [7.3, 7.3];
    for (let done = 0; done < promptTokens; done += chunk) {
      const tokens = Math.min(chunk, promptTokens - done);
      gapsMs.push(7.3 * (1 + 0.04 * random.normal()) + 0.022 * tokens + 1.2e-6 * tokens * (done + tokens / 2));
    }
    gapsMs.push(7.3);
    return { promptTokens, baseMs: 7.3, gapsMs: gapsMs.map((gap) => gap + jitterMs * random.normal()) };
  };

  it('finds the usual limits at every prompt length', () => {
    for (const chunk of [512, 1024, 2048, 4096])
      for (const promptTokens of [5200, 6100, 7200, 7950]) {
        if (promptTokens <= chunk) continue;
        expect(findChunkSize(observe(promptTokens, chunk)), `${promptTokens} by ${chunk}`).toBe(chunk);
      }
  });

  it('a token that came late is no chunk', () => {
    const { gapsMs, ...rest } = observe(7200, 2048, 0.3);
    expect(findChunkSize({ ...rest, gapsMs: [7.3, 25, 0.4, ...gapsMs] })).toBe(2048);
  });

  it('a limit that is no power of two is found within a fifth', () => {
    const found = findChunkSize(observe(7200, 3000)) ?? 0;
    expect(Math.abs(found / 3000 - 1)).toBeLessThan(0.2);
  });

  it('a prompt computed at once, and gaps that are all jitter, show no limit', () => {
    expect(findChunkSize(observe(7200, 8192))).toBeNull();
    expect(findChunkSize({ promptTokens: 300, baseMs: 7, gapsMs: [7.5, 6.6, 8.1, 7] })).toBeNull();
    expect(findChunkSize({ promptTokens: 300, baseMs: 7, gapsMs: [] })).toBeNull();
  });
});

describe('parseEngineLoad', () => {
  it('adds up running and waiting requests of vLLM over its labels, and its prompt tokens', () => {
    const page = [
      '# TYPE vllm:num_requests_running gauge',
      'vllm:num_requests_running{engine="0",model_name="a b{}"} 2.0',
      'vllm:num_requests_running{engine="1",model_name="a b{}"} 1.0',
      'vllm:num_requests_waiting{engine="0"} 4',
      'vllm:prompt_tokens_total{engine="0"} 1.5e+03',
      'vllm:prompt_tokens_created{engine="0"} 1.7e9',
    ].join('\n');
    expect(parseEngineLoad(page)).toEqual({ requests: 7, promptTokens: 1500 });
  });

  it("reads Triton's active requests and not its limits", () => {
    const page =
      'nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 3\nnv_trt_llm_request_metrics{model="m",request_type="max",version="1"} 64\nnv_inference_pending_request_count{model="m"} 0';
    expect(parseEngineLoad(page)).toEqual({ requests: 3, promptTokens: null });
  });

  it('what is no such page is unknown, never zero', () => {
    for (const page of ['', '[{"iter":1}]', '<html>', 'up 1'])
      expect(parseEngineLoad(page)).toEqual({ requests: null, promptTokens: null });
  });
});
