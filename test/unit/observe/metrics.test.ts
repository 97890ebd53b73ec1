import type { BooksReader } from '#domain/books.ts';
import { silentLog } from '#domain/log.ts';
import type { Log } from '#domain/log.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { MetricSums } from '#observe/sum-metrics.ts';
import { createBook, createCell, createFixedBooks } from '#test/unit/reports/sample-books.ts';
import { ensureDebianProgram } from '#test/support/install-debian.ts';
import { spawnSync } from 'node:child_process';
import { describe, expect, test, vi } from 'vitest';
import { createSampleConfig, LLAMA } from './sample-config.ts';
import { create, createSources, NOW_MS, read } from './sample-metrics.ts';
import { RECORD } from './sample-record.ts';

/** Contract §7, without budgets, energy and unmetered, which come with their issues. */
const GOLDEN_NAMES = [
  'inferometer_adopted_journals',
  'inferometer_attribution_residual_gpu_seconds',
  'inferometer_build_info',
  'inferometer_busy_windows_total',
  'inferometer_capacity_cost_usd_total',
  'inferometer_capacity_gpu_seconds_total',
  'inferometer_config_last_reload_successful',
  'inferometer_cost_usd_total',
  'inferometer_deployment_info',
  'inferometer_energy_joules_total',
  'inferometer_engine_profile_drift_ratio',
  'inferometer_engine_profile_fit_error_ratio',
  'inferometer_engine_profile_milliseconds',
  'inferometer_engine_profile_prefill_factor_ratio',
  'inferometer_engine_profile_samples',
  'inferometer_gateway_overhead_seconds',
  'inferometer_gpu_seconds_total',
  'inferometer_idle_cost_usd_total',
  'inferometer_journal_lines_at_risk',
  'inferometer_journal_pending',
  'inferometer_late_windows_total',
  'inferometer_month_to_date_capacity_cost_usd',
  'inferometer_month_to_date_cost_usd',
  'inferometer_month_to_date_idle_cost_usd',
  'inferometer_phase_cost_usd_total',
  'inferometer_price_usd_per_gpu_hour',
  'inferometer_provisioned_gpus',
  'inferometer_queue_length',
  'inferometer_rejections_total',
  'inferometer_request_duration_seconds',
  'inferometer_requests_in_flight',
  'inferometer_requests_total',
  'inferometer_retries_total',
  'inferometer_settlement_lag_seconds',
  'inferometer_statistics_failures_total',
  'inferometer_statistics_poller',
  'inferometer_store_up',
  'inferometer_time_per_output_token_seconds',
  'inferometer_time_to_first_token_seconds',
  'inferometer_tokens_by_source_total',
  'inferometer_tokens_total',
  'inferometer_unmetered_cost_usd_total',
  'inferometer_unsettled_records',
  'inferometer_upstream_ejections_total',
  'inferometer_upstream_up',
  'inferometer_wasted_cost_usd_total',
];

describe('the exposition', () => {
  test('has the names of the contract, each with samples from the start', async () => {
    const text = await create().render();
    const names = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
    expect(names.toSorted()).toEqual(GOLDEN_NAMES);
    for (const name of GOLDEN_NAMES) expect(text).toMatch(new RegExp(`^${name}(_bucket|_count)?[ {]`, 'm'));
    expect([...text.matchAll(/^# HELP \S+ (.*)$/gm)].filter(([, help]) => !help?.includes('Left out'))).toEqual([]);
  });

  test('is clean for promtool, but for the one name whose unit the contract fixes', async () => {
    const promtool = ensureDebianProgram({ command: 'promtool', debianPackage: 'prometheus' });
    const { stderr, stdout } = spawnSync(promtool, ['check', 'metrics'], {
      input: await create().render(),
      encoding: 'utf8',
    });
    expect(stdout).toBe('');
    // The terms of the work model are declared in milliseconds, and contract §7 names their metric after it.
    expect(stderr.trim().split('\n')).toEqual([
      'inferometer_engine_profile_milliseconds use base unit "seconds" instead of "milliseconds"',
    ]);
  });
});

describe('statistics beside requests', () => {
  const PLAIN = createSampleConfig({
    deployments: [{ ...LLAMA, upstreams: LLAMA.upstreams.map((upstream) => ({ ...upstream, dcgm: '' })) }],
  });

  test('energy and unmetered cost are shown only where a DCGM exporter can know them', async () => {
    const text = await create({ config: PLAIN }).render();
    expect(text).not.toMatch(/^inferometer_(energy_joules|unmetered_cost_usd)_total\{/m);
  });

  test('energy adds up, failures and the one who asks are told by upstream and source', async () => {
    const metrics = create({
      statisticsPollers: () => [{ deployment: 'llama-70b', upstream: 'trt-1', source: 'dcgm' }],
    });
    metrics.energyUsed({ deployment: 'llama-70b', gpu: 'H100-SXM' }, 12.5);
    metrics.energyUsed({ deployment: 'llama-70b', gpu: 'H100-SXM' }, Number.NaN);
    metrics.energyUsed({ deployment: 'client-made', gpu: 'x' }, 1);
    metrics.statisticsFailed({ deployment: 'llama-70b', upstream: 'trt-1', source: 'iterations' });
    const text = await metrics.render();
    expect(read(text, 'inferometer_energy_joules_total{deployment="llama-70b",gpu="H100-SXM"}')).toBe(12.5);
    const labels = (source: string) => `{deployment="llama-70b",upstream="trt-1",source="${source}"}`;
    expect(read(text, `inferometer_statistics_failures_total${labels('iterations')}`)).toBe(1);
    expect(read(text, `inferometer_statistics_poller${labels('dcgm')}`)).toBe(1);
    expect(read(text, `inferometer_statistics_poller${labels('iterations')}`)).toBe(0);
    expect(text).not.toContain('client-made');
  });

  test('idle that is found unmetered later is counted so in place of what follows: the parts of capacity add up at every scrape', async () => {
    const metrics = create();
    const read3 = async () => {
      const text = await metrics.render();
      const of = (name: string) => read(text, `inferometer_${name}_total{deployment="llama-70b",gpu="H100-SXM"}`);
      return [of('capacity_cost_usd'), of('idle_cost_usd'), of('unmetered_cost_usd')];
    };
    const booked = (values: Record<string, string>) =>
      metrics.booksCommitted([{ hour: 0, pool: 'p', deployments: 'llama-70b', gpu: 'H100-SXM', metrics: values }]);
    booked({ capacityNanoUsd: '5000000000', idleNanoUsd: '5000000000', engineWindows: '3' });
    booked({ idleNanoUsd: '-4000000000', unmeteredNanoUsd: '4000000000' });
    expect(await read3()).toEqual([5, 5, 0]);
    booked({ capacityNanoUsd: '3000000000', idleNanoUsd: '3000000000' });
    expect(await read3()).toEqual([8, 5, 3]);
    booked({ capacityNanoUsd: '3000000000', idleNanoUsd: '3000000000' });
    expect(await read3()).toEqual([11, 7, 4]);
    const text = await metrics.render();
    expect(read(text, 'inferometer_busy_windows_total{deployment="llama-70b",gpu="H100-SXM",source="engine"}')).toBe(3);
  });
});

describe('choosing an engine', () => {
  test('counts ejections and retries, and shows who waits', async () => {
    const metrics = create();
    metrics.upstreamEjected({ deployment: 'llama-70b', upstream: 'trt-1' });
    metrics.retried('llama-70b', 'answered');
    metrics.retried('llama-70b', 'answered');
    metrics.retried('llama-70b', 'refused');
    const text = await metrics.render();
    expect(read(text, 'inferometer_upstream_ejections_total{deployment="llama-70b",upstream="trt-1"}')).toBe(1);
    const retries = (result: string) =>
      read(text, `inferometer_retries_total{deployment="llama-70b",result="${result}"}`);
    expect([retries('answered'), retries('failed'), retries('refused')]).toEqual([2, 0, 1]);
    expect(read(text, 'inferometer_queue_length{deployment="llama-70b"}')).toBe(4);
  });

  test('makes no series of names that the config does not have', async () => {
    const metrics = create();
    for (let address = 1; address < 20; address += 1) {
      metrics.upstreamEjected({ deployment: 'llama-70b', upstream: `trt-1@10.0.0.${address}` });
      metrics.upstreamEjected({ deployment: `d${address}`, upstream: 'trt-1' });
    }
    const text = await metrics.render();
    expect(read(text, 'inferometer_upstream_ejections_total{deployment="llama-70b",upstream="other"}')).toBe(19);
    expect(read(text, 'inferometer_upstream_ejections_total{deployment="other",upstream="other"}')).toBe(19);
    expect(text).not.toContain('10.0.0.');
  });
});

describe('a finished request', () => {
  test('counts once with disjoint tokens and its latencies', async () => {
    const metrics = create();
    metrics.recordFinished(RECORD);
    const text = await metrics.render();
    const target = 'model="llama-3.1-70b",deployment="llama-70b"';
    expect(
      read(text, `inferometer_requests_total{team="search",${target},route="/v1/chat/completions",status="200"}`),
    ).toBe(1);
    expect(read(text, `inferometer_tokens_total{team="search",${target},type="input"}`)).toBe(900);
    expect(read(text, `inferometer_tokens_total{team="search",${target},type="cached_input"}`)).toBe(100);
    expect(read(text, `inferometer_tokens_total{team="search",${target},type="output"}`)).toBe(118);
    expect(read(text, `inferometer_tokens_by_source_total{${target},source="reported"}`)).toBe(1118);
    expect(read(text, `inferometer_request_duration_seconds_sum{${target}}`)).toBe(1.504);
    expect(read(text, `inferometer_time_to_first_token_seconds_sum{${target}}`)).toBe(0.1);
    expect(read(text, `inferometer_time_per_output_token_seconds_sum{${target}}`)).toBeCloseTo(0.012, 9);
  });

  test('words of the client never become a label', async () => {
    const metrics = create();
    const foreign = { team: 'made-up', model: 'made-up', deployment: 'made-up', route: '/made/up' };
    metrics.recordFinished({ ...RECORD, ...foreign });
    metrics.requestRejected('made-up', 'made-up');
    const text = await metrics.render();
    expect(text).not.toContain('made');
    expect(text).toContain(
      'inferometer_requests_total{team="other",model="other",deployment="other",route="other",status="200"} 1',
    );
    expect(text).toContain('inferometer_rejections_total{team="other",reason="other"} 1');
  });

  test('an attempt that was retried is not a request, and numbers that are none leave the counters whole', async () => {
    const metrics = create();
    metrics.recordFinished({
      ...RECORD,
      lastAttempt: false,
      durationMs: Number.NaN,
      tokens: { ...RECORD.tokens, input: Number.NaN },
    });
    const text = await metrics.render();
    expect(text).not.toMatch(/\bNan\b/i);
    expect(
      read(
        text,
        'inferometer_requests_total{team="search",model="llama-3.1-70b",deployment="llama-70b",route="/v1/chat/completions",status="200"}',
      ),
    ).toBe(0);
  });
});

describe('settlement', () => {
  const key = {
    hour: NOW_MS / 1000,
    team: 'search',
    project: '',
    keyId: '',
    model: 'llama-3.1-70b',
    deployment: 'llama-70b',
  };

  test('counts dollars and GPU seconds of claims, and waste by outcome', async () => {
    const metrics = create();
    const charge = {
      hour: key.hour,
      gpuMicros: '1',
      prefillNanoUsd: '0',
      decodeNanoUsd: '0',
      otherNanoUsd: '0',
      nanoUsdPerGpuHour: '1',
    };
    const aborted: SettledRecordJson = {
      ...RECORD,
      outcome: 'client_aborted',
      charges: [{ ...charge, costNanoUsd: '250000000' }],
    };
    metrics.claimApplied(
      [
        {
          ...key,
          metrics: {
            costNanoUsd: '1500000000',
            prefillNanoUsd: '500000000',
            decodeNanoUsd: '1000000000',
            gpuMicros: '2500000',
          },
        },
      ],
      [aborted],
    );
    const text = await metrics.render();
    const target = 'model="llama-3.1-70b",deployment="llama-70b"';
    expect(read(text, `inferometer_cost_usd_total{team="search",${target}}`)).toBe(1.5);
    expect(read(text, `inferometer_gpu_seconds_total{team="search",${target},gpu="H100-SXM"}`)).toBe(2.5);
    expect(read(text, `inferometer_phase_cost_usd_total{${target},phase="prefill"}`)).toBe(0.5);
    expect(read(text, `inferometer_wasted_cost_usd_total{team="search",${target},outcome="client_aborted"}`)).toBe(
      0.25,
    );
  });

  test('waste of a prompt that another deployment computed is told at that one', async () => {
    const metrics = create();
    const charge = {
      hour: 0,
      gpuMicros: '0',
      prefillNanoUsd: '0',
      decodeNanoUsd: '0',
      otherNanoUsd: '0',
      nanoUsdPerGpuHour: '1',
    };
    const charges = [
      { ...charge, costNanoUsd: '250000000' },
      { ...charge, deployment: 'other', costNanoUsd: '500000000' },
    ];
    metrics.claimApplied([], [{ ...RECORD, outcome: 'timed_out', charges }]);
    const text = await metrics.render();
    const wasted = (deployment: string) =>
      read(
        text,
        `inferometer_wasted_cost_usd_total{team="search",model="llama-3.1-70b",deployment="${deployment}",outcome="timed_out"}`,
      );
    expect([wasted('llama-70b'), wasted('other')]).toEqual([0.25, 0.5]);
  });

  test('a correction below zero neither throws nor lowers a counter', async () => {
    const metrics = create();
    metrics.claimApplied([{ ...key, metrics: { costNanoUsd: '-5' } }], []);
    expect(
      read(
        await metrics.render(),
        'inferometer_cost_usd_total{team="search",model="llama-3.1-70b",deployment="llama-70b"}',
      ),
    ).toBe(0);
  });

  test('counts the capacity of books per deployment and GPU', async () => {
    const metrics = create();
    metrics.booksCommitted([
      {
        hour: key.hour,
        pool: 'llama-70b/trt-1',
        deployments: 'llama-70b',
        gpu: 'H100-SXM',
        metrics: { capacityNanoUsd: '10000000000', idleNanoUsd: '4000000000', capacityGpuMicros: '14400000000' },
      },
    ]);
    const text = await metrics.render();
    const pool = 'deployment="llama-70b",gpu="H100-SXM"';
    expect(read(text, `inferometer_capacity_cost_usd_total{${pool}}`)).toBe(10);
    expect(read(text, `inferometer_idle_cost_usd_total{${pool}}`)).toBe(4);
    expect(read(text, `inferometer_capacity_gpu_seconds_total{${pool}}`)).toBe(14_400);
  });

  test('something unreadable is logged once and disturbs nobody', () => {
    const lines: string[] = [];
    const log: Log = { ...silentLog, error: (_fields, message) => lines.push(message) };
    const metrics = create({ log });
    for (let i = 0; i < 3; i += 1) metrics.recordFinished(null as never);
    expect(lines).toEqual(['metrics could not be counted']);
  });
});

describe('gauges', () => {
  test('a store that hangs holds a scrape up for about a second, not longer, and only once', async () => {
    let reads = 0;
    const books: BooksReader = {
      ...createFixedBooks(),
      readRollups: () => {
        reads += 1;
        return new Promise(() => {});
      },
    };
    vi.useFakeTimers();
    const metrics = create({ books });
    const scrape = metrics.render();
    await vi.advanceTimersByTimeAsync(1000);
    expect(await scrape).toContain('inferometer_store_up 1');
    const second = metrics.render();
    await vi.advanceTimersByTimeAsync(1000);
    await second;
    expect(reads).toBe(1);
    vi.useRealTimers();
  });

  test('a store that answers but lost its books is told as down: nothing is posted to it', async () => {
    const settled = createSources();
    const accountingStatus = () => ({
      ...settled.accountingStatus(),
      stoppedBecause: 'the store has lost its books',
    });
    const text = await create({ sources: { ...settled, accountingStatus } }).render();
    expect(read(text, 'inferometer_store_up')).toBe(0);
  });

  test('GPU time that waits is that of one worker, not once for each: the GPUs are the same', async () => {
    const workers = await Promise.all([create().readJson(), create().readJson()]);
    const text = await new MetricSums().render(workers);
    expect(read(text, 'inferometer_attribution_residual_gpu_seconds{deployment="llama-70b"}')).toBe(0.5);
    expect(read(text, 'inferometer_journal_pending')).toBe(4);
  });

  test('tell the state of now', async () => {
    const text = await create().render();
    expect(read(text, 'inferometer_requests_in_flight{deployment="llama-70b",upstream="trt-1"}')).toBe(3);
    expect(read(text, 'inferometer_upstream_up{deployment="llama-70b",upstream="trt-1"}')).toBe(1);
    expect(read(text, 'inferometer_price_usd_per_gpu_hour{deployment="llama-70b"}')).toBe(2.5);
    expect(read(text, 'inferometer_provisioned_gpus{deployment="llama-70b"}')).toBe(4);
    expect(read(text, 'inferometer_journal_pending')).toBe(2);
    expect(read(text, 'inferometer_settlement_lag_seconds')).toBe(2.5);
    expect(
      read(
        text,
        'inferometer_engine_profile_milliseconds{deployment="llama-70b",term="iterationMs",source="declared"}',
      ),
    ).toBe(12);
    expect(
      read(text, 'inferometer_engine_profile_prefill_factor_ratio{deployment="llama-70b",source="declared"}'),
    ).toBe(0.83);
    expect(text).toContain(
      'inferometer_deployment_info{deployment="llama-70b",model="llama-3.1-70b",engine="tensorrt-llm",gpu="H100-SXM"} 1',
    );
  });

  test('what is unknown is absent, not zero', async () => {
    const books: BooksReader = { ...createFixedBooks(), readRollups: () => Promise.reject(new Error('store down')) };
    const text = await create({ books }).render();
    expect(text).not.toMatch(/^inferometer_month_to_date/m);
  });

  test('the month so far comes from the store and is read once in ten seconds', async () => {
    let reads = 0;
    let nowMs = 0;
    const fixed = createFixedBooks({
      cells: [
        createCell({}, { costNanoUsd: 2_000_000_000n }),
        createCell({ deployment: 'b' }, { costNanoUsd: 1_000_000_000n }),
      ],
      books: [createBook({}, { capacityNanoUsd: 9_000_000_000n, idleNanoUsd: 6_000_000_000n })],
    });
    const books: BooksReader = {
      ...fixed,
      readRollups: (...query) => {
        reads += 1;
        return fixed.readRollups(...query);
      },
    };
    const metrics = create({
      books,
      clock: { monotonicMs: () => nowMs, epochMs: () => NOW_MS, toEpochMs: (ms) => ms },
    });
    await metrics.render();
    nowMs = 9999;
    const text = await metrics.render();
    expect(reads).toBe(1);
    expect(read(text, 'inferometer_month_to_date_cost_usd{team="search"}')).toBe(3);
    expect(read(text, 'inferometer_month_to_date_cost_usd{team="chat"}')).toBe(0);
    expect(read(text, 'inferometer_month_to_date_capacity_cost_usd{deployment="llama-70b"}')).toBe(9);
    expect(read(text, 'inferometer_month_to_date_idle_cost_usd{deployment="llama-70b"}')).toBe(6);
    nowMs = 10_000;
    await metrics.render();
    expect(reads).toBe(2);
  });

  test('the spend of a month is not shown as that of the next one while the store is away', async () => {
    let nowMs = Date.UTC(2026, 10, 30, 23, 59, 59);
    const books: BooksReader = {
      ...createFixedBooks(),
      readRollups: () =>
        nowMs < Date.UTC(2026, 11)
          ? Promise.resolve([createCell({ team: 'search' })])
          : Promise.reject(new Error('away')),
    };
    const clock = { monotonicMs: () => nowMs, epochMs: () => nowMs, toEpochMs: (ms: number) => ms };
    const metrics = create({ books, clock });
    expect(await metrics.render()).toMatch(/^inferometer_month_to_date_cost_usd\{team="search"\}/m);
    nowMs = Date.UTC(2026, 11, 1, 0, 0, 1);
    expect(await metrics.render()).not.toMatch(/^inferometer_month_to_date/m);
  });

  test('the settled hours of the month are read once, later scrapes read the running hour only', async () => {
    let nowMs = 0;
    const from = Date.UTC(2026, 10, 1) / 1000;
    const hour = Date.UTC(2026, 10, 22, 9) / 1000;
    const book = (start: number) => createBook({ hour: start }, { capacityNanoUsd: 1_000_000_000n });
    const fixed = createFixedBooks({
      cells: [],
      books: [book(from), book(hour - 3600), book(hour), book(hour + 3600)],
      status: { frontier: hour + 1800 },
    });
    const periods: { from: number; to: number }[] = [];
    const books: BooksReader = {
      ...fixed,
      readBooks: (period) => {
        periods.push(period);
        return fixed.readBooks(period);
      },
    };
    const metrics = create({
      books,
      clock: { monotonicMs: () => nowMs, epochMs: () => NOW_MS, toEpochMs: (ms) => ms },
    });
    for (nowMs = 0; nowMs <= 20_000; nowMs += 10_000) {
      const text = await metrics.render();
      expect(read(text, 'inferometer_month_to_date_capacity_cost_usd{deployment="llama-70b"}')).toBe(4);
    }
    const recent = { from: hour, to: NOW_MS / 1000 + 3600 };
    expect(periods).toEqual([{ from, to: hour }, recent, recent, recent]);
  });

  test('a reload shows the new deployment and keeps what was counted', async () => {
    const metrics = create();
    metrics.recordFinished(RECORD);
    metrics.reload(createSampleConfig({ deployments: [LLAMA, { ...LLAMA, name: 'gemma', models: ['gemma-2-27b'] }] }));
    const text = await metrics.render();
    expect(text).toContain('inferometer_cost_usd_total{team="chat",model="gemma-2-27b",deployment="gemma"} 0');
    expect(text).toContain(
      'inferometer_tokens_total{team="search",model="llama-3.1-70b",deployment="llama-70b",type="output"} 118',
    );
  });
});
