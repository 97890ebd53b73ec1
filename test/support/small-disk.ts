// A disk that can be filled up and emptied again: a small tmpfs where this user may mount one, else a limit on the sizes of a process's files
// (prlimit), which fails the same writes with EFBIG instead of ENOSPC. Never skipped: one of both is possible wherever the tests run.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianProgram } from './install-debian.ts';

export interface SmallDisk {
  /** What `fill` uses. */
  readonly kind: 'tmpfs' | 'prlimit';
  /** A folder on it. */
  readonly dir: string;
  /** No write to it succeeds from now on; `pid` is the process meant. */
  fill(pid: number): void;
  /** There is room again. */
  empty(pid: number): void;
  /** Unmounts it and removes the folder. */
  close(): void;
}

const FILLER_STEPS = [65_536, 4096, 1] as const;

/** A disk of `bytes` for one process. */
export function createSmallDisk(bytes: number): SmallDisk {
  const dir = mkdtempSync(join(tmpdir(), 'inferometer-disk-'));
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir]).status === 0;
  const filler = join(dir, 'filler');
  return {
    kind: isMounted ? 'tmpfs' : 'prlimit',
    dir,
    fill: (pid) => (isMounted ? writeUntilFull(filler) : limitFiles(pid, '0')),
    empty: (pid) => (isMounted ? unlinkSync(filler) : limitFiles(pid, 'unlimited')),
    close: () => {
      if (isMounted) spawnSync('umount', ['--lazy', dir]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function writeUntilFull(path: string): void {
  const fd = openSync(path, 'w');
  try {
    for (const step of FILLER_STEPS) {
      const block = Buffer.alloc(step);
      try {
        for (;;) writeSync(fd, block);
      } catch {
        // Full to within a block; a smaller one may still fit.
      }
    }
  } finally {
    closeSync(fd);
  }
}

function limitFiles(pid: number, limit: string): void {
  const prlimit = ensureDebianProgram({ command: 'prlimit', debianPackage: 'util-linux' });
  const { status, stderr } = spawnSync(prlimit, ['--pid', String(pid), `--fsize=${limit}:unlimited`], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`prlimit failed: ${stderr}`);
}
