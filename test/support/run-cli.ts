// Runs `inferometer` as a user would and collects what it says.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

export interface CliResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs bin/inferometer.js with the host's environment plus `env`; ends it by its id after `limitMs`. */
export function runCli(
  args: readonly string[],
  { env = {}, limitMs = 60_000, cwd }: { env?: Record<string, string>; limitMs?: number; cwd?: string } = {},
): Promise<CliResult> {
  const bin = join(import.meta.dirname, '..', '..', 'bin', 'inferometer.js');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, out, err });
    });
  });
}
