// Which engines refuse the fields that the gateway adds for itself, route by route, so that each is asked in vain only once.
import type { Clock } from '#domain/clock.ts';

/** After this long a refusal is forgotten: engines are replaced by newer ones behind the same URL. */
const MEMORY_MS = 10 * 60_000;

type Verdict = { readonly kind: 'takes' } | { readonly kind: 'refuses'; readonly untilMs: number };

/** Statuses by which servers say that a body does not fit their schema (upstreams.md §1.5, §2.4, §5.3). */
const REFUSALS: ReadonlySet<number> = new Set([400, 422]);

/** What a refusal's text names when it is about what the gateway added. */
const NAMES_INJECTED = /stream_options|include_usage|continuous_usage_stats/;

/** Lives as long as a configuration, so a reload forgets everything. Bounded: one entry per engine and route. */
export class InjectionMemory {
  readonly #verdicts = new WeakMap<object, Map<string, Verdict>>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the engine is known to refuse added fields on this route. */
  refuses(engine: object, route: string): boolean {
    const verdict = this.#verdicts.get(engine)?.get(route);
    return verdict?.kind === 'refuses' && this.#clock.monotonicMs() < verdict.untilMs;
  }

  /** Whether an answer of this status may be about the added fields at all. */
  isRefusal(status: number): boolean {
    return REFUSALS.has(status);
  }

  /**
   * Whether to ask again without the added fields after a refusal with this text: always while nothing is known of the engine, later
   * only where the text names them.
   */
  isWorthAsking(engine: object, route: string, text: string): boolean {
    return this.#verdicts.get(engine)?.get(route)?.kind !== 'takes' || NAMES_INJECTED.test(text);
  }

  /** The engine answered well with the added fields in the body. */
  noteTaken(engine: object, route: string): void {
    this.#note(engine, route, { kind: 'takes' });
  }

  /** The engine refused the body with the added fields and answered otherwise without them. */
  noteRefused(engine: object, route: string): void {
    this.#note(engine, route, { kind: 'refuses', untilMs: this.#clock.monotonicMs() + MEMORY_MS });
  }

  #note(engine: object, route: string, verdict: Verdict): void {
    let verdicts = this.#verdicts.get(engine);
    if (verdicts === undefined) {
      verdicts = new Map();
      this.#verdicts.set(engine, verdicts);
    }
    verdicts.set(route, verdict);
  }
}
