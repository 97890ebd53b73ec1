// A small configuration for tests of metrics and the admin plane.
import type { Config, DeploymentConfig } from '#config/config.ts';

const upstream = {
  url: 'http://127.0.0.1:1',
  discovery: 'static',
  replicas: 1,
  apiKey: 'upstream-secret',
  headers: {},
  dcgm: '',
  gpus: [],
} as const;

export const LLAMA: DeploymentConfig = {
  name: 'llama-70b',
  models: ['llama-3.1-70b', 'meta-llama/Llama-3.1-70B-Instruct'],
  engine: 'tensorrt-llm',
  servedModel: 'llama',
  gpu: 'H100-SXM',
  gpuMillionths: 4_000_000,
  priceName: 'h100-reserved',
  provisioned: { kind: 'always' },
  upstreams: [{ ...upstream, name: 'trt-1', pool: 'llama-70b/trt-1', dcgm: 'http://127.0.0.1:1/metrics' }],
  timeouts: { connectMs: 2000, firstByteMs: 600_000, idleMs: 120_000 },
  health: { path: '/health', intervalMs: 5000, timeoutMs: 2000, unhealthyAfter: 3 },
  engineStatistics: true,
  work: 'tokens',
  passThrough: ['/v1/audio/*'],
  errors: 'passthrough',
  dropFields: [],
  defaults: {},
  caps: {},
  weight: 1,
  priority: 0,
};

const team = { costCenter: '', keys: [], reservedGpuMillionths: {}, models: ['*'] };

/** Two teams, one deployment on four GPUs; overrides replace whole sections. */
export function createSampleConfig(overrides: Partial<Config> = {}): Config {
  return {
    server: {
      host: '127.0.0.1',
      port: 0,
      maxBodyBytes: 1 << 20,
      requestTimeoutMs: 600_000,
      drainDelayMs: 0,
      drainTimeoutMs: 1000,
      workers: 1,
      exposeUpstream: true,
    },
    admin: { host: '127.0.0.1', port: 0, token: 'admin-token-of-the-test', requireToken: true, metricsToken: '' },
    store: { url: 'sqlite::memory:', prefix: 'test', timeoutMs: 50, onStoreDown: 'admit' },
    journal: { dir: 'unused', fsync: 'off', retentionMs: 0, maxBytes: 2 ** 34 },
    settlement: { horizonMs: 30_000, silenceMs: 900_000 },
    retention: { recordsMs: 35 * 86_400_000, rollupsMs: 400 * 86_400_000, archive: '' },
    logging: { level: 'info', format: 'json', access: true },
    privacy: { user: 'keep' },
    prices: [
      {
        name: 'h100-reserved',
        gpu: 'H100-SXM',
        nanoUsdPerGpuHour: 2_500_000_000n,
        usdPerGpuHour: '2.5',
        fromMs: Date.UTC(2026, 0, 1),
        from: '2026-01-01',
        source: 'contract',
      },
    ],
    deployments: [LLAMA],
    tenancy: { authentication: ['keys'], header: { name: 'x-team', trustedProxies: [] }, anonymous: '' },
    teams: [
      { ...team, name: 'search', displayName: 'Search', costCenter: '4711' },
      { ...team, name: 'chat', displayName: 'Chat' },
    ],
    finance: { billingAccountId: '', billingAccountName: '', invoiceIssuer: '', providerName: '' },
    watch: false,
    ...overrides,
  };
}
