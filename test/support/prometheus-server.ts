// A real Prometheus on a free loopback port with a data folder of its own, for tests that must see what it sees.
// It scrapes what the test names; queries go through its HTTP API. Nothing here knows our metrics.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findFreePort } from '#src/demo/free-port.ts';
import { ensureDebianProgram } from '#test/support/install-debian.ts';

/** What to scrape. */
export interface PrometheusOptions {
  /** `host:port` of each target; all are of one job, `inferometer`, and answer on `/metrics`. */
  readonly targets: readonly string[];
  readonly scrapeIntervalMs: number;
  /** Absolute paths of rule files to evaluate at the scrape interval. */
  readonly ruleFiles?: readonly string[];
}

/** One series of an answer: its labels, and value pairs [seconds since the epoch, value] in rising order. */
export interface PrometheusSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly points: readonly (readonly [number, number])[];
}

/** A running server. `close` ends it and removes its data. */
export interface PrometheusServer {
  readonly url: string;
  /** Instant query, now. Throws with the server's own words if the expression is refused. */
  query(expression: string): Promise<readonly PrometheusSeries[]>;
  /** Range query over the last `lookbackSeconds` in steps of `stepSeconds`. */
  queryRange(
    expression: string,
    window: { lookbackSeconds: number; stepSeconds: number },
  ): Promise<readonly PrometheusSeries[]>;
  /** Resolves when the expression has at least one sample; throws after `timeoutMs`, naming the expression. */
  waitFor(expression: string, timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 100;

/** Starts Prometheus (Debian's package, installed if it can be) and resolves once it answers queries. */
export async function startPrometheus(options: PrometheusOptions): Promise<PrometheusServer> {
  const program = ensureDebianProgram({ command: 'prometheus', debianPackage: 'prometheus' });
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-prometheus-'));
  const configFile = join(folder, 'prometheus.yml');
  writeFileSync(configFile, JSON.stringify(renderConfig(options)));
  const port = await findFreePort();
  const child = spawn(
    program,
    [
      `--config.file=${configFile}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  try {
    await waitForReady(child);
  } catch (err) {
    await stop(child, folder);
    throw err;
  }
  const url = `http://127.0.0.1:${port}`;
  const server: PrometheusServer = {
    url,
    query: (expression) => readSeries(url, '/api/v1/query', { query: expression }),
    queryRange: (expression, { lookbackSeconds, stepSeconds }) => {
      const end = Date.now() / 1000;
      return readSeries(url, '/api/v1/query_range', {
        query: expression,
        start: String(end - lookbackSeconds),
        end: String(end),
        step: String(stepSeconds),
      });
    },
    waitFor: async (expression, timeoutMs) => {
      const deadline = Date.now() + timeoutMs;
      while ((await server.query(expression)).length === 0) {
        if (Date.now() > deadline) throw new Error(`no sample within ${timeoutMs} ms: ${expression}`);
        await delay(POLL_MS);
      }
    },
    close: () => stop(child, folder),
  };
  return server;
}

/** JSON is YAML: no quoting rules to get wrong. */
function renderConfig({ targets, scrapeIntervalMs, ruleFiles = [] }: PrometheusOptions): object {
  const interval = `${scrapeIntervalMs}ms`;
  return {
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
    rule_files: ruleFiles,
    scrape_configs: [{ job_name: 'inferometer', static_configs: [{ targets }] }],
  };
}

function waitForReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let log = '';
    const timer = setTimeout(() => reject(new Error(`Prometheus was not ready in time:\n${log}`)), START_TIMEOUT_MS);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`Prometheus ended with ${code}:\n${log}`)));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-10_000);
      if (!log.includes('Server is ready to receive web requests')) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

async function stop(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }
  rmSync(folder, { recursive: true, force: true });
}

interface ApiAnswer {
  readonly status: string;
  readonly error?: string;
  readonly data?: {
    readonly resultType: 'vector' | 'matrix' | 'scalar';
    readonly result: readonly {
      readonly metric: Record<string, string>;
      readonly value?: readonly [number, string];
      readonly values?: readonly (readonly [number, string])[];
    }[];
  };
}

async function readSeries(
  url: string,
  path: string,
  parameters: Record<string, string>,
): Promise<readonly PrometheusSeries[]> {
  const res = await fetch(url + path, { method: 'POST', body: new URLSearchParams(parameters) });
  const answer = (await res.json()) as ApiAnswer;
  if (answer.status !== 'success' || answer.data === undefined) {
    throw new Error(`Prometheus refused "${parameters['query']}": ${answer.error ?? res.status}`);
  }
  if (answer.data.resultType === 'scalar') throw new Error(`a scalar is no series: ${parameters['query']}`);
  return answer.data.result.map((series) => ({
    labels: series.metric,
    points: (series.values ?? (series.value === undefined ? [] : [series.value])).map(
      ([at, text]) => [at, toNumber(text)] as const,
    ),
  }));
}

/** Prometheus writes `+Inf`, which Number() does not read. */
function toNumber(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}
