// The gateway as it is shipped, compiled, with everything on: keys, metering, journal, store, metrics, access log.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort } from '#src/demo/free-port.ts';
import { answers, CANDIDATE_CPU, startProgram } from '#test/bench/child.ts';

const START_TIMEOUT_MS = 30_000;
const KEY = 'benchmark-key-0123456789abcdef';
const ADMIN_TOKEN = 'benchmark-admin-token';
const ROOT = join(import.meta.dirname, '..', '..');

/** Compiled beside the sources, whose node_modules it needs; a folder of its own, since `dist` is what is packed. */
const BUILT = 'dist-bench';

/** Compiles the sources as the npm package and the image are. Throws when that fails. */
export function compileGateway(): void {
  execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(ROOT, 'bin', 'build.js'), BUILT]);
}

/** Starts `inferometer serve` on the embedded store in `folder`; resolves when /readyz says so. */
export async function startGatewayUnderTest(options: { folder: string; enginePort: number }) {
  const { folder, enginePort } = options;
  mkdirSync(folder, { recursive: true });
  const [port, adminPort] = [await findFreePort(), await findFreePort()];
  const configFile = join(folder, 'inferometer.yaml');
  // JSON is YAML, without quoting rules to get wrong.
  writeFileSync(configFile, JSON.stringify(renderConfig({ folder, port, adminPort, enginePort }), null, 2));
  const program = await startProgram({
    command: process.execPath,
    args: [join(ROOT, BUILT, 'main.js'), 'serve', '--config', configFile],
    cpu: CANDIDATE_CPU,
    logFile: join(folder, 'output.log'),
    cwd: folder,
    env: { NODE_ENV: 'production' },
    isReady: () => answers(`http://127.0.0.1:${adminPort}/readyz`),
    startTimeoutMs: START_TIMEOUT_MS,
  });
  const metrics = { url: `http://127.0.0.1:${adminPort}/metrics`, token: ADMIN_TOKEN };
  return { ...program, port, key: KEY, readSettlementLagSeconds: () => readSettlementLag(metrics) };
}

/** Throws where the gateway does not tell it. */
async function readSettlementLag({ url, token }: { url: string; token: string }): Promise<number> {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  const lag = /^inferometer_settlement_lag_seconds(?:{.*})? (\S+)$/m.exec(await response.text())?.[1];
  if (lag === undefined) throw new Error('the gateway does not tell how far its books are behind');
  return Number(lag);
}

function renderConfig(options: { folder: string; port: number; adminPort: number; enginePort: number }): object {
  const { folder, port, adminPort, enginePort } = options;
  return {
    server: { host: '127.0.0.1', port, drainDelay: '0s', drainTimeout: '2s' },
    admin: { host: '127.0.0.1', port: adminPort, token: ADMIN_TOKEN },
    store: { url: `sqlite:${join(folder, 'inferometer.db')}` },
    journal: { dir: join(folder, 'journal') },
    retention: { archive: join(folder, 'archive') },
    prices: [{ name: 'bench', gpu: 'H100-SXM', usdPerGpuHour: 2.5, from: '2026-01-01', source: 'benchmark' }],
    deployments: [
      {
        name: 'bench',
        models: ['bench'],
        engine: 'vllm',
        gpu: 'H100-SXM',
        gpusPerReplica: 1,
        upstreams: [{ url: `http://127.0.0.1:${enginePort}`, name: 'mock' }],
        engineProfile: {
          iterationMs: 12,
          prefillTokenMs: 0.03,
          prefillContextMs: 0,
          decodeStepMs: 0.04,
          contextTokenMs: 0.000017,
        },
      },
    ],
    teams: [{ name: 'bench', costCenter: '1', keys: [{ key: KEY, name: 'bench', project: 'bench' }] }],
  };
}
