// The five numbers of the work model (shared/design/attribution.md): what one forward pass costs.

/** In milliseconds of the whole replica: T = iterationMs + Σ prefill terms + Σ decode terms. */
export interface EngineProfile {
  /** t0: fixed cost of one iteration. */
  readonly iterationMs: number;
  /** a: per uncached prompt token. */
  readonly prefillTokenMs: number;
  /** q: per prompt token and token of context before it. */
  readonly prefillContextMs: number;
  /** d: per decode step of one sequence. */
  readonly decodeStepMs: number;
  /** k: per decode step and token of context. */
  readonly contextTokenMs: number;
}

/** Best first: declared in the config, measured by `calibrate`, engine statistics, learned, or built in by GPU and model size. */
export type ProfileSource = 'declared' | 'calibrated' | 'engine' | 'learned' | 'builtin';

/** The profile in integer femtoseconds per unit (1 ms = 10^12 fs), rounded once; `halfQ` = q/2. Decimal strings in JSON. */
export interface ProfileFemtos {
  readonly t0: string;
  readonly a: string;
  readonly halfQ: string;
  readonly d: string;
  readonly k: string;
}
