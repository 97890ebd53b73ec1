// Starting, watching and ending the programs of a benchmark run, each pinned to a CPU. Ends them by their own ids only.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

/** The CPU that candidates have to themselves, and the one that client and engine share (the same on a single core). */
export const CANDIDATE_CPU = 0;
export const CLIENT_CPU = Math.min(1, cpus().length - 1);

const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 50;

/** A running program. `stop` resolves when it is gone. */
export interface Program {
  readonly pid: number;
  stop(): Promise<void>;
}

/** What to start. Both outputs go to `logFile`, so that a full pipe can hold nobody up. */
export interface ProgramOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cpu: number;
  readonly logFile: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Resolves to true once the program serves; asked again and again. */
  readonly isReady: () => Promise<boolean>;
  readonly startTimeoutMs: number;
}

/** Starts a program and resolves when it is ready; rejects with the end of its log if it ends or takes too long. */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const log = openSync(options.logFile, 'a');
  const child = spawn('taskset', ['--cpu-list', String(options.cpu), options.command, ...options.args], {
    stdio: ['ignore', log, log],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
  });
  const deadline = Date.now() + options.startTimeoutMs;
  let failure: Error | undefined;
  child.once('error', (err) => {
    failure = err;
  });
  while (!(await options.isReady())) {
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (failure !== undefined || ended || Date.now() > deadline) {
      await stopChild(child);
      const tail = readFileSync(options.logFile, 'utf8').slice(-2000);
      throw new Error(`${options.command} did not start: ${failure?.message ?? ''}\n${tail}`);
    }
    await delay(POLL_MS);
  }
  return { pid: child.pid ?? 0, stop: () => stopChild(child) };
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}

/** True if a GET of the URL answers 200. */
export async function answers(url: string): Promise<boolean> {
  try {
    const res = await fetch(url, { signal: AbortSignal.timeout(1000) });
    await res.arrayBuffer();
    return res.status === 200;
  } catch {
    return false;
  }
}
