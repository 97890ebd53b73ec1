// The metrics of contract §7, and a reader of the names an expression uses. For the tests of rules and dashboards:
// what they query must be exported, and nothing here is allowed to drift from the gateway unnoticed.

const COUNTERS_AND_GAUGES = [
  'requests_total',
  'tokens_total',
  'tokens_by_source_total',
  'gpu_seconds_total',
  'cost_usd_total',
  'phase_cost_usd_total',
  'wasted_cost_usd_total',
  'capacity_gpu_seconds_total',
  'capacity_cost_usd_total',
  'idle_cost_usd_total',
  'unmetered_cost_usd_total',
  'month_to_date_cost_usd',
  'month_to_date_capacity_cost_usd',
  'month_to_date_idle_cost_usd',
  'requests_in_flight',
  'upstream_up',
  'upstream_ejections_total',
  'retries_total',
  'queue_length',
  'deployment_info',
  'price_usd_per_gpu_hour',
  'provisioned_gpus',
  'budget_limit_usd',
  'budget_spent_usd',
  'budget_reserved_usd',
  'budget_reset_timestamp_seconds',
  'rejections_total',
  'journal_pending',
  'unsettled_records',
  'adopted_journals',
  'late_windows_total',
  'journal_lines_at_risk',
  'settlement_lag_seconds',
  'attribution_residual_gpu_seconds',
  'store_up',
  'config_last_reload_successful',
  'build_info',
  'engine_profile_milliseconds',
  'engine_profile_drift_ratio',
  'engine_profile_fit_error_ratio',
  'engine_profile_samples',
  'engine_profile_prefill_factor_ratio',
  'energy_joules_total',
  'busy_windows_total',
  'statistics_failures_total',
  'statistics_poller',
];

const HISTOGRAMS = [
  'request_duration_seconds',
  'time_to_first_token_seconds',
  'time_per_output_token_seconds',
  'gateway_overhead_seconds',
];

/** Every series name a query may use: counters and gauges, and the three series of each histogram. */
export const METRIC_NAMES: ReadonlySet<string> = new Set([
  ...COUNTERS_AND_GAUGES.map((name) => `inferometer_${name}`),
  ...HISTOGRAMS.flatMap((name) => ['bucket', 'sum', 'count'].map((series) => `inferometer_${name}_${series}`)),
]);

/** Metric and recording rule names in a PromQL expression, in order, repetitions included. Label texts are ignored. */
export function readMetricNames(expression: string): string[] {
  const bare = expression
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
    .replaceAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '');
  return [...bare.matchAll(/(?<![\w:])(?:[a-z_]+:)?inferometer[a-z_]*[a-z0-9_:]*|(?<![\w:])up(?=\{)/g)].map(
    (match) => match[0],
  );
}
