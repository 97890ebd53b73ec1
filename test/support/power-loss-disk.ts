// A disk that forgets what was not synced: stands in for node:fs (vi.mock), passes everything on, and knows what a power cut would leave.
// Model: a file keeps the bytes of its last fsync, and any beginning of what was written after it; a file that was made, renamed or removed
// is certain only once its folder was synced. Only what src/accounting calls is watched.
import type * as NodeFs from 'node:fs';
import { basename, dirname, join } from 'node:path';

type Fs = typeof NodeFs;

/** Uniform in [0, 1). */
type Draw = () => number;

interface WatchedFile {
  /** Bytes that survive for certain. */
  synced: Buffer;
  /** The folder was synced since the file came to its name. */
  isNamed: boolean;
  /** What stood under this name before, where a rename replaced it and the folder was not synced since. */
  replaced: Buffer | null;
}

export class PowerLossDisk {
  readonly fs: Fs;
  readonly #real: Fs;
  readonly #files = new Map<string, WatchedFile>();
  /** Removed, but the folder was not synced since. */
  readonly #removed = new Map<string, Buffer>();
  readonly #paths = new Map<number, string>();

  constructor(real: Fs) {
    this.#real = real;
    this.fs = { ...real, ...this.#watched() } as Fs;
  }

  /** What a power cut now would leave of a file at the least; null: perhaps not even its name. */
  readDurable(path: string): Buffer | null {
    const file = this.#files.get(path);
    if (file === undefined) return null;
    return file.isNamed ? file.synced : file.replaced;
  }

  /** Files of a folder that are there for certain. */
  listDurable(dir: string): string[] {
    return [...this.#files].flatMap(([path, { isNamed }]) => (dirname(path) === dir && isNamed ? [path] : [])).sort();
  }

  /** Takes the power away: the real files become what is left of them. Descriptors still open are the dead process's. */
  cut(draw: Draw): void {
    for (const [path, file] of this.#files) {
      if (!file.isNamed && draw() < 0.5) this.#undoName(path, file);
      else this.#cutTail(path, file, draw);
    }
    for (const [path, bytes] of this.#removed) if (draw() < 0.5) this.#real.writeFileSync(path, bytes);
    // What the next start finds is what the disk has.
    for (const path of [...this.#files.keys(), ...this.#removed.keys()]) {
      this.#files.delete(path);
      if (this.#real.existsSync(path)) this.#watch(path, false);
    }
    this.#removed.clear();
    this.#paths.clear();
  }

  #undoName(path: string, { replaced }: WatchedFile): void {
    if (replaced === null) this.#real.rmSync(path, { force: true });
    else this.#real.writeFileSync(path, replaced);
  }

  #cutTail(path: string, { synced }: WatchedFile, draw: Draw): void {
    const written = this.#real.readFileSync(path);
    const kept = synced.length + Math.floor(draw() * Math.max(0, written.length - synced.length + 1));
    this.#real.writeFileSync(path, written.subarray(0, kept));
  }

  #watched(): Partial<Fs> {
    const real = this.#real;
    const openSync = (path: string, flags: NodeFs.OpenMode, mode?: NodeFs.Mode): number => {
      const isNew = !real.existsSync(path);
      const fd = real.openSync(path, flags, mode);
      this.#paths.set(fd, path);
      if (flags !== 'r') this.#watch(path, isNew);
      return fd;
    };
    const syncAll = (fd: number): void => {
      real.fsyncSync(fd);
      this.#sync(this.#paths.get(fd));
    };
    return {
      openSync: openSync as Fs['openSync'],
      closeSync: (fd) => {
        this.#paths.delete(fd);
        real.closeSync(fd);
      },
      fsyncSync: syncAll,
      fdatasyncSync: syncAll,
      fdatasync: ((fd: number, done: (error: NodeJS.ErrnoException | null) => void) => {
        // Synced is what had been written when the call was made.
        this.#sync(this.#paths.get(fd));
        setImmediate(done, null);
      }) as Fs['fdatasync'],
      renameSync: ((from: string, to: string) => this.#rename(from, to)) as Fs['renameSync'],
      unlinkSync: ((path: string) => this.#remove(path)) as Fs['unlinkSync'],
      rmSync: ((path: string, options?: NodeFs.RmOptions) => {
        if (real.existsSync(path) && real.statSync(path).isFile()) this.#remove(path);
        else real.rmSync(path, options);
      }) as Fs['rmSync'],
    };
  }

  #watch(path: string, isNew: boolean): void {
    if (this.#files.has(path)) return;
    const synced = isNew ? Buffer.alloc(0) : this.#real.readFileSync(path);
    this.#files.set(path, { synced, isNamed: !isNew, replaced: null });
  }

  #sync(path: string | undefined): void {
    if (path === undefined || !this.#real.existsSync(path)) return;
    if (this.#real.statSync(path).isDirectory()) {
      for (const [name, file] of this.#files)
        if (dirname(name) === path) Object.assign(file, { isNamed: true, replaced: null });
      for (const name of this.#removed.keys()) if (dirname(name) === path) this.#removed.delete(name);
      return;
    }
    const file = this.#files.get(path);
    if (file !== undefined) file.synced = this.#real.readFileSync(path);
  }

  #rename(from: string, to: string): void {
    const replaced = this.#real.existsSync(to) ? (this.readDurable(to) ?? this.#real.readFileSync(to)) : null;
    this.#real.renameSync(from, to);
    const file = this.#files.get(from);
    this.#files.delete(from);
    this.#files.set(to, { synced: file?.synced ?? Buffer.alloc(0), isNamed: false, replaced });
  }

  #remove(path: string): void {
    const bytes = this.#real.readFileSync(path);
    this.#real.unlinkSync(path);
    this.#files.delete(path);
    this.#removed.set(path, bytes);
  }
}

/** Paths of the journal's segments that survive for certain, as `readDurable` takes them. */
export function durableSegments(disk: PowerLossDisk, dir: string): string[] {
  return disk
    .listDurable(dir)
    .filter((path) => basename(path).startsWith('segment-') && path.startsWith(join(dir, '')));
}
