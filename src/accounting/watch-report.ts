// What this process saw of its pools beside traffic: health changes, and windows in which it was not watching.
// Not here: health checks themselves (gateway), what they mean for capacity (provisioning.ts).
import type { HealthChange } from '#domain/settlement.ts';

const MAX_CHANGES = 10_000;
const MAX_BLIND = 1000;

/** Collects until a message takes it. */
export class WatchReport {
  readonly #healthy = new Map<string, boolean>();
  readonly #changes = new Map<string, HealthChange>();
  readonly #blind: (readonly [from: number, to: number])[] = [];

  /** The pool answers, or not, from this window on; said only when it differs from what was said before. */
  reportHealth(pool: string, healthy: boolean, window: number): void {
    if (this.#healthy.get(pool) === healthy) return;
    if (this.#healthy.size >= MAX_CHANGES && !this.#healthy.has(pool)) return;
    this.#healthy.set(pool, healthy);
    // Of several changes in one window the last one counts.
    if (this.#changes.size < MAX_CHANGES) this.#changes.set(`${window}\n${pool}`, { pool, window, healthy });
  }

  /** Says again what is known of every pool, from this window on: for a store that may have forgotten it. */
  repeat(window: number): void {
    const known = [...this.#healthy];
    this.#healthy.clear();
    for (const [pool, healthy] of known) this.reportHealth(pool, healthy, window);
  }

  /** This process was not running in windows [from … to]. */
  addBlind(from: number, to: number): void {
    if (from > to) return;
    const last = this.#blind.at(-1);
    if (last !== undefined && (from <= last[1] + 1 || this.#blind.length >= MAX_BLIND)) {
      this.#blind[this.#blind.length - 1] = [Math.min(last[0], from), Math.max(last[1], to)];
    } else {
      this.#blind.push([from, to]);
    }
  }

  /** True when there is something to say. */
  get pending(): boolean {
    return this.#changes.size > 0 || this.#blind.length > 0;
  }

  /** Everything collected; the caller puts it into a message. */
  take(): { readonly healthChanges: HealthChange[]; readonly blind: (readonly [number, number])[] } {
    const taken = { healthChanges: [...this.#changes.values()], blind: [...this.#blind] };
    this.#changes.clear();
    this.#blind.length = 0;
    return taken;
  }
}
