// Starting our own commands as child processes and ending them by their ids.
import { type ChildProcess, spawn } from 'node:child_process';
import { extname, join } from 'node:path';

export interface OwnProcess {
  readonly pid: number;
  /** Resolves with the first line that `isReady` accepts; rejects when the process ends before, with what it said. */
  readonly ready: Promise<string>;
  /** SIGTERM, then SIGKILL after `graceMs`; resolves with the exit code, null after a signal. */
  end(graceMs: number): Promise<number | null>;
}

/** The entry of the running program: src/main.ts in a checkout, dist/main.js when compiled. */
function entryPath(): string {
  return join(import.meta.dirname, '..', `main${extname(import.meta.filename)}`);
}

const SAID_BYTES_MAX = 16_384;

/** Runs `inferometer <args>` on this very Node. Output beyond the last 16 kB is dropped. */
export function startOwnProcess(args: readonly string[], isReady: (line: string) => boolean): OwnProcess {
  const child: ChildProcess = spawn(process.execPath, [entryPath(), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  let said = '';
  const ready = new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-SAID_BYTES_MAX);
      const line = said.split('\n').find((text) => isReady(text));
      if (line !== undefined) resolve(line);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', reject);
    void exited.then((code) => reject(new Error(`inferometer ${args[0]} ended with ${code}: ${said.trim()}`)));
  });
  // Nobody may be waiting for it when the process ends later on.
  ready.catch(() => {});
  return {
    pid: child.pid ?? 0,
    ready,
    async end(graceMs) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      const code = await exited;
      clearTimeout(timer);
      return code;
    },
  };
}
