// Makes sure that a program the tests need is on this machine, installing its Debian package where that is possible.
// It never lets a test skip: either the program is there afterwards, or an error says what to install.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A program, and the Debian package that brings it. */
export interface DebianProgram {
  /** Name of the executable, such as `promtool`. */
  readonly command: string;
  /** Name of the package, such as `prometheus`. */
  readonly debianPackage: string;
}

/** Daemons such as nginx live here, which an ordinary user's PATH leaves out. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
const INSTALL_TIMEOUT_MS = 300_000;

/**
 * Absolute path of `command`, installed first through apt-get if it is missing and this process is root. Safe to call
 * from several test processes at once: apt's own lock lets them wait for one another.
 * Throws an error that names the package when the program cannot be had.
 */
export function ensureDebianProgram({ command, debianPackage }: DebianProgram): string {
  const present = findExecutable(command);
  if (present !== undefined) return present;
  const failure = installPackage(debianPackage);
  const installed = findExecutable(command);
  if (installed !== undefined) return installed;
  throw new Error(
    `The tests need the program "${command}". Install it, for example with: apt-get install ${debianPackage}` +
      (failure === undefined ? '' : ` (${failure})`),
  );
}

/** Absolute path of an executable on PATH or in the system folders, or undefined. */
export function findExecutable(command: string): string | undefined {
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== ''),
    ...SYSTEM_FOLDERS,
  ];
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Installs a package, or says why not. */
function installPackage(debianPackage: string): string | undefined {
  if (findExecutable('apt-get') === undefined) return 'this is no Debian machine';
  if (process.getuid?.() !== 0) return 'only root can install it from here';
  const install = () => runApt(['install', '--yes', '--no-install-recommends', debianPackage]);
  if (install().status === 0) return undefined;
  // A fresh container has no package lists yet.
  runApt(['update']);
  const second = install();
  return second.status === 0 ? undefined : `apt-get failed: ${second.stderr.trim().split('\n').at(-1) ?? ''}`;
}

function runApt(args: readonly string[]) {
  return spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=240', ...args], {
    encoding: 'utf8',
    timeout: INSTALL_TIMEOUT_MS,
    // RUNLEVEL=1: packages with a daemon must not start it, it would take the usual port.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  });
}
