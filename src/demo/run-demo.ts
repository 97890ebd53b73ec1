// `inferometer demo`: the main job end to end on simulated engines, checked against what the engines know they spent.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runReport } from '#src/commands/report.ts';
import { waitForLostReader } from '#src/commands/lost-reader.ts';
import { waitForSignal } from '#src/commands/wait-for-signal.ts';
import { type TeamCheck, TEAM_ERROR_MAX, type TrueRequest, checkTruth, findUnserved } from './check-truth.ts';
import { type OwnProcess, startOwnProcess } from './child-process.ts';
import {
  DEMO_TEAMS,
  type DemoEngine,
  type DemoStage,
  OPTIMISED_MODEL,
  createDemoSecret,
  renderDemoConfig,
} from './demo-config.ts';
import { type DemoTraffic, runDemoTraffic } from './demo-traffic.ts';
import { findFreePort } from './free-port.ts';

export interface DemoOptions {
  /** Exit after the check instead of staying up. */
  readonly once: boolean;
  /** One JSON object instead of tables. */
  readonly json: boolean;
  readonly seconds: number;
  readonly seed: number;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const DATA_DIR = 'data';
const SETTLE_LIMIT_MS = 30_000;
const END_GRACE_MS = 8_000;

interface Verdict {
  readonly differenceNanoUsd: string;
  readonly checks: readonly TeamCheck[];
}

/** What a run has begun, and whether it is to go on. */
interface DemoRun {
  readonly dir: string;
  readonly processes: OwnProcess[];
  readonly signal: AbortSignal;
}

/** Exit code 0, or 1 if the books differ by a nanodollar, a team is off by more than 5 % or was not served at all, or a signal or the loss of its reader came first. Leaves nothing behind. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const stop = new AbortController();
  const ends = [waitForSignal(['SIGINT', 'SIGTERM', 'SIGHUP']), waitForLostReader()];
  const stopped = Promise.race<unknown>(ends).then(() => stop.abort());
  const dir = makeFolder();
  const processes: OwnProcess[] = [];
  const showing = showDemo(options, { dir, processes, signal: stop.signal });
  try {
    const verdict = await Promise.race([showing, stopped]);
    if (verdict === undefined) {
      process.stderr.write('inferometer demo: stopped before the check\n');
      return 1;
    }
    if (!options.once) await stopped;
    return isPassed(verdict) ? 0 : 1;
  } finally {
    stop.abort();
    // The gateway first: it drains while its engines still answer.
    for (const child of processes.toReversed()) await child.end(END_GRACE_MS);
    // A report that the stop found at work reads the books in there: SQLite makes and removes files beside them.
    await showing.catch(() => {});
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A folder of this run's own. */
function makeFolder(): string {
  try {
    mkdirSync(DATA_DIR, { recursive: true });
    return mkdtempSync(join(resolve(DATA_DIR), 'demo-'));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(
      `the demo keeps its books in ${resolve(DATA_DIR)} while it runs: ${why}; run it where you may write`,
      { cause: error },
    );
  }
}

async function showDemo(options: DemoOptions, run: DemoRun): Promise<Verdict> {
  const { dir, signal } = run;
  const stage = await startEngines(run, options.seed);
  const configPath = join(dir, 'inferometer.yaml');
  writeFileSync(configPath, renderDemoConfig(stage), { mode: 0o600 });
  await startProcess(run, ['serve', '--config', configPath], (line) => line.includes('gateway is ready'));
  const { seconds, seed } = options;
  const traffic = await runDemoTraffic({ stage, seconds, seed, isTerminal: process.stderr.isTTY, signal });
  await waitUntilSettled(stage, traffic.endedAtMs, signal);
  // What was stopped is not shown: a gateway that drains answers and settles all the same.
  signal.throwIfAborted();
  if (!options.json) await runReport({ path: configPath, env: options.env, options: { groupBy: 'team,model' } });
  const verdict = await compareWithTruth(stage, traffic);
  if (options.json) {
    const chargeback = await readReport(stage, 'team,model');
    process.stdout.write(`${JSON.stringify({ ...verdict, chargeback })}\n`);
  } else {
    process.stdout.write(renderVerdict(verdict));
    // With --once none of it is there any more when one reads this.
    if (!options.once) process.stdout.write(renderUrls(stage, configPath));
  }
  return verdict;
}

/** Nothing is started after the stop: nobody would end it. */
function startProcess({ processes, signal }: DemoRun, ...what: Parameters<typeof startOwnProcess>): Promise<string> {
  signal.throwIfAborted();
  const child = startOwnProcess(...what);
  processes.push(child);
  return child.ready;
}

function isPassed({ differenceNanoUsd, checks }: Verdict): boolean {
  return differenceNanoUsd === '0' && checks.every(isWithin) && findUnserved(checks, DEMO_TEAMS).length === 0;
}

function isWithin(check: TeamCheck): boolean {
  return Math.abs(check.error) <= TEAM_ERROR_MAX;
}

async function startEngines(run: DemoRun, seed: number): Promise<DemoStage> {
  const start = async (args: readonly string[]) => {
    const simulate = ['simulate', '--json', '--port', '0', '--model', OPTIMISED_MODEL, ...args];
    return JSON.parse(await startProcess(run, simulate, (line) => line.startsWith('{'))) as DemoEngine;
  };
  const [optimised, baseline] = await Promise.all([
    start(['--flavor', 'trtllm', '--seed', String(seed)]),
    start(['--flavor', 'transformers', '--baseline', '--seed', String(seed + 1)]),
  ]);
  const keys = Object.fromEntries(DEMO_TEAMS.map((team) => [team, createDemoSecret()])) as DemoStage['keys'];
  const port = await findFreePort(8080);
  const adminPort = await findFreePort(8081);
  return { dir: run.dir, port, adminPort, adminToken: createDemoSecret(), keys, optimised, baseline };
}

interface ReportJson {
  readonly settledThrough: string | null;
  readonly rows: readonly { readonly team: string | null; readonly gpuSeconds: number }[];
  readonly pools: readonly { readonly pendingNanoUsd: string }[];
  readonly totals: { readonly differenceNanoUsd: string };
}

async function readReport(stage: DemoStage, groupBy: 'team' | 'team,model' = 'team'): Promise<ReportJson> {
  const response = await fetch(`http://127.0.0.1:${stage.adminPort}/api/reports/chargeback?groupBy=${groupBy}`, {
    headers: { authorization: `Bearer ${stage.adminToken}` },
  });
  if (!response.ok) throw new Error(`the report of the demo failed: ${response.status} ${await response.text()}`);
  return (await response.json()) as ReportJson;
}

async function waitUntilSettled(stage: DemoStage, endedAtMs: number, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + SETTLE_LIMIT_MS;
  for (;;) {
    signal.throwIfAborted();
    const report = await readReport(stage);
    const settledMs = report.settledThrough === null ? 0 : Date.parse(report.settledThrough);
    if (settledMs >= endedAtMs && report.pools.every((pool) => pool.pendingNanoUsd === '0')) return;
    if (performance.now() > deadlineMs) throw new Error(`the books did not settle within ${SETTLE_LIMIT_MS} ms`);
    await new Promise((done) => setTimeout(done, 250));
  }
}

async function compareWithTruth(stage: DemoStage, traffic: DemoTraffic): Promise<Verdict> {
  const engines = await Promise.all(
    [stage.optimised, stage.baseline].map(async ({ url, gpus }) => {
      const truth = (await (await fetch(`${url}/truth`)).json()) as { requests: TrueRequest[] };
      return { gpus, requests: truth.requests };
    }),
  );
  const report = await readReport(stage);
  const charged = new Map<string, number>();
  for (const row of report.rows)
    if (row.team !== null) charged.set(row.team, (charged.get(row.team) ?? 0) + row.gpuSeconds);
  const checks = checkTruth({ charged, engines, teamOfRequest: traffic.teamOfRequest });
  return { differenceNanoUsd: report.totals.differenceNanoUsd, checks };
}

function renderVerdict({ differenceNanoUsd, checks }: Verdict): string {
  const lines = checks.map((check) => {
    const error = `${check.error >= 0 ? '+' : ''}${(check.error * 100).toFixed(1)} %`;
    return `  ${check.team.padEnd(12)} charged ${check.chargedGpuSeconds.toFixed(3)} GPU s, true ${check.trueGpuSeconds.toFixed(3)} GPU s, ${error}${isWithin(check) ? '' : '  ← off'}`;
  });
  for (const team of findUnserved(checks, DEMO_TEAMS))
    lines.push(`  ${team.padEnd(12)} got no answer: nothing to check  ← off`);
  return `\nCheck against the engines' own truth\n${lines.join('\n')}\n  books: capacity − charged − idle = ${differenceNanoUsd} nanodollars\n`;
}

function renderUrls(stage: DemoStage, configPath: string): string {
  const admin = `http://127.0.0.1:${stage.adminPort}`;
  const auth = `-H 'authorization: Bearer ${stage.adminToken}'`;
  return [
    '',
    `  gateway   http://127.0.0.1:${stage.port}/v1   key of team search: ${stage.keys.search}`,
    `  console   ${admin}/   token: ${stage.adminToken}`,
    `  metrics   ${admin}/metrics`,
    `  report    curl ${auth} '${admin}/api/reports/chargeback?groupBy=team,model'`,
    `  config    ${configPath}`,
    '',
  ].join('\n');
}
