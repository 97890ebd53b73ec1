// One gateway as its own process, or a supervisor with its workers, to be killed, stopped, starved of disk and put on a wrong clock. Ended by its id, always.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureDebianProgram } from '#test/support/install-debian.ts';
import { isWorker, listWorkers, sendSignal } from './gateway-workers.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const STEP_CLOCK = join(import.meta.dirname, 'step-clock.ts');
const READY_LIMIT_MS = 60_000;
const SAID_BYTES_MAX = 60_000;

export interface GatewayPlace {
  readonly configPath: string;
  /** Milliseconds its wall clock is off, as text. */
  readonly clockFile: string;
}

/** `src/main.ts serve` under a test's hand. */
export class GatewayProcess {
  readonly #place: GatewayPlace;
  #child: ChildProcess | null = null;
  #exited: Promise<number | null> = Promise.resolve(null);
  /** Of the latest start. */
  #ready: Promise<void> = Promise.resolve();
  #said = '';
  #isGone = false;
  /** Workers of killed supervisors. */
  readonly #orphans = new Set<number>();

  constructor(place: GatewayPlace) {
    this.#place = place;
    this.stepClock(0);
  }

  get running(): boolean {
    return this.#child !== null;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** The latest lines it printed, over all its starts. */
  get said(): string {
    return this.#said;
  }

  /** Resolves once it says it is ready, or was killed on the way there; rejects when it ends by itself, or after a minute. Running or gone: nothing. */
  async start(): Promise<void> {
    if (this.#child !== null || this.#isGone) return;
    const env = { ...process.env, CHAOS_CLOCK_FILE: this.#place.clockFile };
    const args = ['--import', STEP_CLOCK, MAIN, 'serve', '--config', this.#place.configPath];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#child = child;
    const killWithUs = () => this.#signalAll('SIGKILL');
    process.once('exit', killWithUs);
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        process.removeListener('exit', killWithUs);
        this.#hear(`[exit ${code ?? signal}]\n`);
        if (this.#child === child) this.#child = null;
        resolve(code);
      });
    });
    this.#ready = this.#awaitReady(child, this.#exited);
    await this.#ready;
  }

  /** SIGKILL to all its processes, orphans too; resolves once the one that was started here is gone. */
  async kill(): Promise<void> {
    this.#signalAll('SIGKILL');
    await this.#exited;
  }

  /** SIGKILL to the supervisor alone. */
  async killSupervisor(): Promise<void> {
    for (const pid of this.#workers()) this.#orphans.add(pid);
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** SIGKILL to one worker, once they are ready; nothing where there is none now. */
  async killWorker(index: number): Promise<void> {
    // A gateway that loses a worker while it starts gives up, as it says, and whoever runs it starts it again.
    await this.#ready.catch(() => {});
    const pid = this.#workers()[index];
    if (pid !== undefined) sendSignal(pid, 'SIGKILL');
  }

  /** Workers that live on without their supervisor. */
  get orphans(): readonly number[] {
    return [...this.#orphans].filter(isWorker);
  }

  #workers(): readonly number[] {
    return this.#child === null ? [] : listWorkers(this.pid);
  }

  /** The supervisor first, so that it replaces nobody. */
  #signalAll(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    const workers = this.#workers();
    this.#child?.kill(signal);
    for (const pid of [...workers, ...this.orphans]) sendSignal(pid, signal);
  }

  /** SIGKILL, and it never starts again. */
  async die(): Promise<void> {
    this.#isGone = true;
    await this.kill();
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** SIGTERM, and SIGKILL after the limit; resolves with the exit code, null after a signal. */
  async end(limitMs: number): Promise<number | null> {
    const child = this.#child;
    if (child === null) return await this.#exited;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    const code = await this.#exited;
    clearTimeout(timer);
    return code;
  }

  /** SIGSTOP: sockets stay open, nothing answers. */
  pause(): void {
    this.#signalAll('SIGSTOP');
  }

  resume(): void {
    this.#signalAll('SIGCONT');
  }

  /** No file it writes may grow beyond `bytes`: writes are cut short, then fail. Null: no limit. Its sockets and pipes are not files. */
  limitFiles(bytes: number | null): void {
    if (this.#child === null || this.#child.pid === undefined) return;
    const prlimit = ensureDebianProgram({ command: 'prlimit', debianPackage: 'util-linux' });
    const limit = `--fsize=${bytes ?? 'unlimited'}:unlimited`;
    for (const pid of [this.pid, ...this.#workers()]) {
      const { status, stderr } = spawnSync(prlimit, ['--pid', String(pid), limit], { encoding: 'utf8' });
      const isThere = pid === this.pid ? this.#child !== null : isWorker(pid);
      if (status !== 0 && isThere) throw new Error(`prlimit failed: ${stderr}`);
    }
  }

  stepClock(offsetMs: number): void {
    writeFileSync(this.#place.clockFile, String(offsetMs));
  }

  #hear(text: string): void {
    this.#said = (this.#said + text).slice(-SAID_BYTES_MAX);
  }

  #awaitReady(child: ChildProcess, exited: Promise<number | null>): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the gateway is not ready:\n${this.#said}`)), READY_LIMIT_MS);
      let own = '';
      const read = (chunk: Buffer) => {
        const text = chunk.toString('utf8');
        this.#hear(text);
        if (own.length > 100_000) return;
        own += text;
        if (!own.includes('gateway is ready')) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout?.on('data', read);
      child.stderr?.on('data', read);
      child.once('error', reject);
      void exited.then((code) => {
        clearTimeout(timer);
        if (code === null) resolve();
        else reject(new Error(`the gateway ended with ${code} while starting:\n${own}`));
      });
    });
  }
}
