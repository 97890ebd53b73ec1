// What a process and all its descendants have used so far, from the kernel's own books in /proc.
import { readdirSync, readFileSync } from 'node:fs';

/** /proc counts CPU time in ticks of USER_HZ, which Linux fixes at 100 per second on every architecture it shows them. */
const TICKS_PER_SECOND = 100;

/** CPU seconds (user + system) since the start of each process, and resident memory now, summed over a process tree. */
export interface ProcessUse {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** Sums the tree under `pid`. A process that ends meanwhile is left out. */
export function readProcessUse(pid: number): ProcessUse {
  const uses = listTree(pid).map(readOne);
  return {
    cpuSeconds: uses.reduce((sum, use) => sum + use.cpuSeconds, 0),
    residentBytes: uses.reduce((sum, use) => sum + use.residentBytes, 0),
  };
}

/** `pid` and every descendant. */
function listTree(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(readStat(Number(name))?.[1]);
    if (Number.isInteger(parent)) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const tree = [pid];
  for (let index = 0; index < tree.length; index += 1) tree.push(...(children.get(tree[index] ?? 0) ?? []));
  return tree;
}

/** Fields of /proc/PID/stat behind the command name, which may itself hold blanks and brackets. */
function readStat(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function readOne(pid: number): ProcessUse {
  const stat = readStat(pid);
  if (stat === undefined) return { cpuSeconds: 0, residentBytes: 0 };
  // proc(5): utime and stime are fields 14 and 15, counted from 1 with the pid and the name.
  const ticks = Number(stat[11]) + Number(stat[12]);
  return { cpuSeconds: ticks / TICKS_PER_SECOND, residentBytes: readResidentBytes(pid) };
}

function readResidentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Seconds that one CPU has spent since the machine started. */
export interface CpuTime {
  /** On programs, not on interrupts. */
  readonly busySeconds: number;
  /** On other machines of the same host, while something here wanted to run. */
  readonly stolenSeconds: number;
}

/** Throws where the machine has no such CPU. */
export function readCpuTime(cpu: number): CpuTime {
  const line = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`cpu${cpu} `));
  if (line === undefined) throw new Error(`/proc/stat knows no CPU ${cpu}`);
  // proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
  const [user = 0, nice = 0, system = 0, , , , , steal = 0] = line.split(' ').slice(1).map(Number);
  return { busySeconds: (user + nice + system) / TICKS_PER_SECOND, stolenSeconds: steal / TICKS_PER_SECOND };
}
