// The demo's stage: which engines, teams and prices there are. Money is charged by the same code as anywhere else.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { EngineProfile } from '#domain/engine-profile.ts';

/** What a simulated engine says of itself with `simulate --json`. */
export interface DemoEngine {
  readonly url: string;
  readonly gpus: number;
  readonly profile: EngineProfile;
}

export const OPTIMISED_MODEL = 'llama-3.1-8b';
/** The same model on the engine before optimisation. */
export const BASELINE_MODEL = 'llama-3.1-8b-transformers';
export const DEMO_TEAMS = ['search', 'assistant', 'codegen'] as const;
export type DemoTeam = (typeof DEMO_TEAMS)[number];

const GPU = 'H100-SXM';
/** The claim that started the product: 0.50 USD per million tokens before optimisation. */
const BASELINE_USD_PER_MILLION_TOKENS = 0.5;

export interface DemoStage {
  readonly dir: string;
  readonly port: number;
  readonly adminPort: number;
  readonly adminToken: string;
  readonly keys: Readonly<Record<DemoTeam, string>>;
  readonly optimised: DemoEngine;
  readonly baseline: DemoEngine;
}

/** A fresh random secret of 32 hex digits. */
export function createDemoSecret(): string {
  return randomBytes(16).toString('hex');
}

/** The gateway's configuration as JSON, which is YAML. Readable by the owner only where it is written. */
export function renderDemoConfig(stage: DemoStage): string {
  const deployment = (name: string, model: string, engine: string, at: DemoEngine) => ({
    name,
    models: [model],
    engine,
    servedModel: OPTIMISED_MODEL,
    gpu: GPU,
    gpusPerReplica: at.gpus,
    engineProfile: at.profile,
    upstreams: [{ url: at.url, name: 'gpu-0' }],
    health: { interval: '1s' },
  });
  const config = {
    server: { host: '127.0.0.1', port: stage.port, drainDelay: '0s', drainTimeout: '5s' },
    admin: { host: '127.0.0.1', port: stage.adminPort, token: stage.adminToken },
    store: { url: `sqlite:${join(stage.dir, 'inferometer.db')}`, timeout: '1s' },
    journal: { dir: join(stage.dir, 'journal') },
    logging: { level: 'warn', access: false },
    prices: [{ name: 'h100-reserved', gpu: GPU, usdPerGpuHour: 2.5, from: '2026-01-01', source: 'demo' }],
    deployments: [
      {
        ...deployment('llama-8b-tensorrt', OPTIMISED_MODEL, 'tensorrt-llm', stage.optimised),
        baseline: { name: 'Transformers on the same GPU', usdPerMillionTokens: BASELINE_USD_PER_MILLION_TOKENS },
      },
      deployment('llama-8b-transformers', BASELINE_MODEL, 'transformers', stage.baseline),
    ],
    teams: DEMO_TEAMS.map((team, index) => ({
      name: team,
      costCenter: `47${11 + index}`,
      keys: [{ key: stage.keys[team], name: 'demo', project: `${team}-app` }],
    })),
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
