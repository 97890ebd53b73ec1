// The worker processes of a gateway as the kernel lists them: the supervisor tells nobody their ids. Not here: the gateway (gateway-process.ts).
import { readFileSync } from 'node:fs';

/** Ids of the workers that a supervisor has now. */
export function listWorkers(supervisor: number): readonly number[] {
  const children = readProc(`${supervisor}/task/${supervisor}/children`);
  return children.split(' ').filter(Boolean).map(Number).filter(isWorker);
}

/** Whether the process lives and is a worker: an id may be another's by now. A zombie has no command line. */
export function isWorker(pid: number): boolean {
  return readProc(`${pid}/cmdline`).includes('serve-worker');
}

/** Nothing where the process is gone. */
export function sendSignal(pid: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch {
    return '';
  }
}
