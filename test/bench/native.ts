// The programs in C that must not be what limits: compiled at the start of a run, the engine started, the load run, files held in memory.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ensureDebianProgram } from '#test/support/install-debian.ts';
import { answers, CLIENT_CPU, startProgram, type Program } from '#test/bench/child.ts';

const SOURCES = join(import.meta.dirname, 'native');
const START_TIMEOUT_MS = 5000;

/** Paths of the compiled programs. */
export interface NativePrograms {
  readonly mockEngine: string;
  readonly loadGenerator: string;
  readonly holdFiles: string;
}

/** Microseconds at shares of the values; absent shares mean that nothing was measured. */
export interface Percentiles {
  readonly count: number;
  readonly p50?: number;
  readonly p90?: number;
  readonly p99?: number;
  readonly p999?: number;
  readonly max?: number;
}

/** What one run of the load generator saw between its "begin" and "end". */
export interface LoadResult {
  readonly seconds: number;
  readonly requests: number;
  readonly chunks: number;
  readonly errors: number;
  /** Requests or streams still open at the end. */
  readonly open: number;
  /** CPU seconds of the load generator itself. */
  readonly cpuSeconds: number;
  readonly latencyMicros: Percentiles;
  readonly chunkDelayMicros: Percentiles;
}

/** How to load a candidate; see the head of native/load-generator.c. */
export interface LoadOptions {
  readonly mode: 'closed' | 'open';
  readonly port: number;
  readonly connections: number;
  /** Requests per second, mode `open`. */
  readonly rate: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
  readonly key: string;
  readonly body: string;
}

/** Compiles the programs into `folder` with the machine's C compiler, installing gcc where that is possible. */
export function compileNative(folder: string): NativePrograms {
  // Not the package gcc alone: it leaves out the headers of the C library.
  const compiler = ensureDebianProgram({ command: 'cc', debianPackage: 'build-essential' });
  const compile = (name: string) => {
    const program = join(folder, name);
    execFileSync(compiler, ['-O2', '-o', program, join(SOURCES, `${name}.c`)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return program;
  };
  return {
    mockEngine: compile('mock-engine'),
    loadGenerator: compile('load-generator'),
    holdFiles: compile('hold-files'),
  };
}

/** Keeps the files in memory until it is stopped; rejects where the system does not allow that. */
export function holdFiles(options: { program: string; files: readonly string[]; logFile: string }): Promise<Program> {
  const { program, files, logFile } = options;
  return startProgram({
    command: program,
    args: files,
    cpu: CLIENT_CPU,
    logFile,
    isReady: async () => readFileSync(logFile, 'utf8').includes('held'),
    startTimeoutMs: START_TIMEOUT_MS,
  });
}

/** Starts the engine that does no work on `port`. */
export function startMockEngine(options: { program: string; port: number; logFile: string }): Promise<Program> {
  return startProgram({
    command: options.program,
    args: [String(options.port)],
    cpu: CLIENT_CPU,
    logFile: options.logFile,
    isReady: () => answers(`http://127.0.0.1:${options.port}/health`),
    startTimeoutMs: START_TIMEOUT_MS,
  });
}

/** Runs the load; `onBegin` and `onEnd` are called within a millisecond of the measured seconds' edges. */
export async function runLoad(
  program: string,
  options: LoadOptions,
  edges: { readonly onBegin: () => void; readonly onEnd: () => void },
): Promise<LoadResult> {
  const { mode, port, connections, rate, warmupSeconds, seconds, key, body } = options;
  const numbers = [port, connections, rate, warmupSeconds, seconds].map(String);
  const child = spawn('taskset', ['--cpu-list', String(CLIENT_CPU), program, mode, ...numbers, key], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(body);
  let result: LoadResult | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'begin') edges.onBegin();
    else if (line === 'end') edges.onEnd();
    else result = JSON.parse(line) as LoadResult;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0 || result === undefined) throw new Error(`the load generator ended with ${code}`);
  return result;
}
