// Keeps the archive up to date beside a running gateway: a process of its own now and then, so that requests never wait for it.
import { type ChildProcess, spawn } from 'node:child_process';
import { extname, join } from 'node:path';
import type { Log } from '#domain/log.ts';

const FIRST_MS = 60_000;
const INTERVAL_MS = 15 * 60_000;
const SAID_BYTES_MAX = 4096;

export interface ArchiveTimer {
  /** Ends a run under way; what it had not marked is exported the next time. */
  stop(): void;
}

/** Runs `inferometer ledger export --due` on the configuration at `path`. One of several gateways does the work, by a lease. */
export function startArchiving({ path, log }: { readonly path: string; readonly log: Log }): ArchiveTimer {
  let running: ChildProcess | null = null;
  const run = () => {
    running ??= exportDue(path, log, () => (running = null));
  };
  const first = setTimeout(run, FIRST_MS).unref();
  const timer = setInterval(run, INTERVAL_MS).unref();
  return {
    stop() {
      clearTimeout(first);
      clearInterval(timer);
      running?.kill('SIGTERM');
    },
  };
}

function exportDue(path: string, log: Log, onEnd: () => void): ChildProcess {
  const entry = join(import.meta.dirname, '..', `main${extname(import.meta.filename)}`);
  const args = [entry, 'ledger', 'export', '--due', '--json', '--config', path];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let out = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-SAID_BYTES_MAX)));
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.once('error', (err) => {
    onEnd();
    log.warn({ err }, 'the archive could not be brought up to date');
  });
  child.once('close', (code) => {
    onEnd();
    if (code === 0) tellResult(out, log);
    else if (code !== null)
      log.warn({ reason: said.trim() }, 'the archive could not be brought up to date: no day leaves the store');
  });
  return child;
}

function tellResult(text: string, log: Log): void {
  const { exported, dropped, waiting } = JSON.parse(text) as {
    readonly exported: readonly { readonly day: string }[];
    readonly dropped: readonly string[];
    readonly waiting: readonly unknown[];
  };
  for (const { day } of exported) log.info({ day }, 'a day was exported to the archive');
  for (const day of dropped) log.info({ day }, 'an archived day left the store');
  if (waiting.length > 0) log.warn({ waiting }, 'days cannot be exported yet and stay in the store');
}
