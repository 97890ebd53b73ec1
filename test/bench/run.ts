// `npm run bench`: what the gateway costs, beside nginx and the direct way, measured alternately in one run.
//
// To compare two commits, run it on the same machine for each, with nothing else running, and compare the RATIOS to nginx:
//   git switch A && npm ci && npm run bench -- --json > a.json;  git switch B && npm ci && npm run bench -- --json > b.json
// Absolute figures move by 20 % between hosts and hours; nginx, measured within the same minutes, moves with them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CANDIDATE_NAMES, startCandidate, type Candidate, type CandidateName } from '#test/bench/candidate.ts';
import { findFreePort } from '#src/demo/free-port.ts';
import { CLIENT_CPU } from '#test/bench/child.ts';
import { FIGURE_NAMES, MEASUREMENTS, type Figures, type Measured } from '#test/bench/measure.ts';
import { compileGateway } from '#test/bench/gateway-under-test.ts';
import { compileNative, holdFiles, startMockEngine } from '#test/bench/native.ts';
import { installNginx } from '#test/bench/nginx-under-test.ts';
import { renderResult, type BenchResult } from '#test/bench/render-result.ts';
import { judge, median, type Medians } from '#test/bench/targets.ts';
import { ensureDebianProgram, findExecutable } from '#test/support/install-debian.ts';

const USAGE = `usage: npm run bench -- [options]
  --candidates direct,nginx,gateway   what to measure
  --repetitions N                     default 3, with --quick 1
  --quick                             a sanity run of less than a minute; its figures are rough
  --json                              print JSON instead of tables
  --strict                            exit 1 if a target is missed
`;
/** A client CPU fuller than this, while the candidate has time left, means that the client was what limited. */
const CLIENT_LIMIT_SHARE = 0.95;
const CANDIDATE_FREE_SHARE = 0.9;
/** More than this much of one CPU gone to strangers, and the run says so. */
const FOREIGN_LIMIT_SHARE = 0.05;
/** The same for what the host took. */
const STOLEN_LIMIT_SHARE = 0.05;
/** Seconds that sealing, freezing and claiming take by design, with room. */
const LAG_LIMIT_SECONDS = 10;
const QUICK = { seconds: 1.6, warmupSeconds: 1.2 };

interface Options {
  readonly candidates: readonly CandidateName[];
  readonly repetitions: number;
  readonly quick: boolean;
  readonly json: boolean;
  readonly strict: boolean;
}

/** Throws on what it does not know. */
function parseOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      candidates: { type: 'string', default: CANDIDATE_NAMES.join(',') },
      repetitions: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      strict: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const asked = values.candidates.split(',');
  const candidates = CANDIDATE_NAMES.filter((name) => asked.includes(name));
  if (candidates.length !== asked.length) throw new Error(`unknown candidate in "${values.candidates}"`);
  const repetitions = Number(values.repetitions ?? (values.quick ? 1 : 3));
  if (!Number.isInteger(repetitions) || repetitions < 1) throw new Error('--repetitions must be a whole number from 1');
  return { candidates, repetitions, quick: values.quick, json: values.json, strict: values.strict };
}

/** One repetition: every candidate fresh, then measurement by measurement all candidates in turn. */
async function repeatOnce(
  options: Options,
  setting: { folder: string; loadGenerator: string; enginePort: number; enginePid: number },
) {
  const { enginePort, enginePid, loadGenerator, folder } = setting;
  const results = new Map<CandidateName, Figures>();
  const notes: string[] = [];
  const running: Candidate[] = [];
  try {
    for (const name of options.candidates) running.push(await startCandidate(name, { folder, enginePort, enginePid }));
    for (const measurement of MEASUREMENTS) {
      const { warmupSeconds, seconds } = options.quick ? QUICK : measurement;
      for (const candidate of running) {
        progress(`${measurement.name}: ${candidate.name}`);
        const measured = await measurement.measure({ candidate, loadGenerator, enginePid, warmupSeconds, seconds });
        results.set(candidate.name, { ...results.get(candidate.name), ...measured.figures });
        notes.push(...criticise(measurement.name, candidate.name, measured));
        if (!measurement.leavesStreamsOpen) notes.push(...(await criticiseBooks(measurement.name, candidate)));
      }
    }
  } finally {
    for (const candidate of running) await candidate.stop();
  }
  return { results, notes };
}

/** What makes a figure doubtful. Errors make it worthless: they end the run. */
function criticise(measurement: string, candidate: CandidateName, measured: Measured): string[] {
  if (measured.errors > 0)
    throw new Error(`${candidate}, ${measurement}: ${measured.errors} errors; no figure is worth anything`);
  const percent = (share: number) => `${Math.round(share * 100)} %`;
  const notes: string[] = [];
  if (measured.foreignCpuShare > FOREIGN_LIMIT_SHARE) {
    notes.push(
      `${candidate}, ${measurement}: other programs took ${percent(measured.foreignCpuShare)} of a CPU: repeat it on a quiet machine`,
    );
  }
  if (measured.stolenCpuShare > STOLEN_LIMIT_SHARE) {
    notes.push(
      `${candidate}, ${measurement}: the host took ${percent(measured.stolenCpuShare)} of a CPU for others: delays and throughput are theirs too`,
    );
  }
  const clientIsFull = measured.clientCpuShare > CLIENT_LIMIT_SHARE;
  if (candidate !== 'direct' && clientIsFull && measured.candidateCpuShare < CANDIDATE_FREE_SHARE) {
    notes.push(
      `${candidate}, ${measurement}: client and engine filled their core (${percent(measured.clientCpuShare)}) while the candidate used ` +
        `${percent(measured.candidateCpuShare)} of its own: its throughput may be higher than shown`,
    );
  }
  return notes;
}

/** A gateway that puts its settlement off looks cheaper than it is. */
async function criticiseBooks(measurement: string, candidate: Candidate): Promise<string[]> {
  const lagSeconds = (await candidate.readSettlementLagSeconds?.()) ?? 0;
  if (lagSeconds <= LAG_LIMIT_SECONDS) return [];
  return [
    `${candidate.name}, ${measurement}: the books are ${Math.round(lagSeconds)} s behind: CPU time leaves out what is still to be settled`,
  ];
}

function progress(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function toMedians(
  candidates: readonly CandidateName[],
  runs: readonly ReadonlyMap<CandidateName, Figures>[],
): Medians {
  const medians: Medians = {};
  for (const candidate of candidates) {
    const figures: Figures = {};
    for (const name of FIGURE_NAMES) {
      const values = runs.flatMap((run) => run.get(candidate)?.[name] ?? []);
      if (values.length > 0) figures[name] = median(values);
    }
    medians[candidate] = figures;
  }
  return medians;
}

function readVersion(command: string, args: readonly string[]): string | null {
  const path = findExecutable(command);
  if (path === undefined) return null;
  // nginx writes its version to stderr.
  return (
    execFileSync('sh', ['-c', `"$0" "$@" 2>&1`, path, ...args], { encoding: 'utf8' })
      .trim()
      .split('/')
      .at(-1) ?? null
  );
}

/** What every candidate runs: see native/hold-files.c. */
function holdPrograms({ candidates }: Options, program: string, folder: string) {
  const files = [process.execPath, ...(candidates.includes('nginx') ? [installNginx()] : [])];
  return holdFiles({ program, files, logFile: join(folder, 'hold-files.log') });
}

async function runBench(options: Options): Promise<BenchResult> {
  if (cpus().length < 2)
    throw new Error('the benchmark needs two CPUs: one for the candidate, one for client and engine');
  ensureDebianProgram({ command: 'taskset', debianPackage: 'util-linux' });
  // This process stays off the candidate's CPU.
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', String(CLIENT_CPU), String(process.pid)], {
    stdio: 'ignore',
  });
  const startedAt = new Date().toISOString();
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-bench-'));
  const programs = compileNative(folder);
  compileGateway();
  const enginePort = await findFreePort();
  const engine = await startMockEngine({
    program: programs.mockEngine,
    port: enginePort,
    logFile: join(folder, 'engine.log'),
  });
  const notes = new Set<string>();
  const held = await holdPrograms(options, programs.holdFiles, folder).catch((error: Error) => {
    notes.add(
      `the programs could not be held in memory (${error.message.trim()}): a host that pages them out slows them down`,
    );
    return null;
  });
  try {
    const runs: ReadonlyMap<CandidateName, Figures>[] = [];
    for (let repetition = 1; repetition <= options.repetitions; repetition += 1) {
      progress(`repetition ${repetition} of ${options.repetitions}`);
      const own = join(folder, String(repetition));
      mkdirSync(own);
      const once = await repeatOnce(options, {
        folder: own,
        loadGenerator: programs.loadGenerator,
        enginePort,
        enginePid: engine.pid,
      });
      runs.push(once.results);
      for (const note of once.notes) notes.add(note);
    }
    if (options.quick) notes.add('a quick run: short windows, one repetition; percentiles and memory are rough');
    const medians = toMedians(options.candidates, runs);
    return {
      schema: 'inferometer.bench/1',
      startedAt,
      commit: execFileSync('git', ['describe', '--always', '--dirty'], {
        encoding: 'utf8',
        cwd: import.meta.dirname,
      }).trim(),
      host: {
        cpu: cpus()[0]?.model ?? 'unknown',
        kernel: release(),
        node: process.version,
        nginx: readVersion('nginx', ['-v']),
      },
      quick: options.quick,
      repetitions: options.repetitions,
      medians,
      targets: options.candidates.includes('gateway') ? judge(medians) : [],
      notes: [...notes],
    };
  } finally {
    await held?.stop();
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(USAGE);
  else {
    const result = await runBench(options);
    process.stdout.write(options.json ? `${JSON.stringify(result, null, 2)}\n` : renderResult(result));
    if (options.strict && result.targets.some((target) => target.verdict !== 'pass')) process.exitCode = 1;
  }
} catch (err) {
  process.stderr.write(`bench: ${err instanceof Error ? err.message : String(err)}\n`);
  process.exitCode = err instanceof TypeError ? 2 : 1;
}
