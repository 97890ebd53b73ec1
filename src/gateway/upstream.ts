// One engine as this process knows it: its connections, its work in flight, what is held against it. Choosing is replica-set.ts's.
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { Dispatcher } from 'undici';
import type { Replica } from './choose-replica.ts';
import { Ejection, type EjectionState } from './ejection.ts';
import type { TurnSends } from './turn-sends.ts';
import { createDispatcher } from './upstream-dispatcher.ts';

/** One request at an engine: says how it went, then ends. */
export interface Lease {
  readonly upstream: Upstream;
  /** An answer began with this status; 5xx speaks against the engine (501 against the request). */
  answered(status: number): void;
  /** Connection refused, reset or silence, with nothing of an answer. */
  failed(): void;
  /** The request is over, whatever its end; later calls do nothing. */
  release(): void;
}

/** Told when an engine is ejected, for so many milliseconds, and when it serves again. */
export interface EjectionListener {
  ejected(upstream: Upstream, forMs: number): void;
  restored(upstream: Upstream): void;
}

/** Told too when a request ended: there may be room. */
export interface UpstreamListener extends EjectionListener {
  vacated(upstream: Upstream): void;
}

/** Lives until its connections have nothing left to do, across reloads that do not change how it is reached. */
export class Upstream implements Replica {
  readonly dispatcher: Dispatcher;
  /** Path part of the configured URL, without a trailing slash; routes are appended to it. */
  readonly basePath: string;
  readonly ejection = new Ejection();
  /** By active checks; undefined until the first verdict: usable. */
  healthy: boolean | undefined;
  /** Failed checks in a row. */
  failures = 0;
  inFlight = 0;
  work = 0;
  #config: UpstreamConfig;
  #deployment: DeploymentConfig;
  #retired = false;

  readonly #sends: TurnSends | undefined;

  /** Without `sends` what is sent leaves at once. */
  constructor(deployment: DeploymentConfig, config: UpstreamConfig, sends?: TurnSends) {
    this.#config = config;
    this.#deployment = deployment;
    // Through a proxy's tunnel it leaves at once too.
    this.#sends = config.proxy === undefined ? sends : undefined;
    this.basePath = new URL(config.url).pathname.replace(/\/+$/, '');
    this.dispatcher = createDispatcher(config, deployment.timeouts.connectMs, this.#sends);
  }

  /** Whether what `dispatch` sends waits for the end of its turn. */
  get leavesByTurn(): boolean {
    return this.#sends !== undefined;
  }

  /** Sends one request. Throws what the dispatcher throws on bad arguments. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.dispatcher.dispatch(options, handler);
    this.#sends?.waitForChecks();
  }

  get config(): UpstreamConfig {
    return this.#config;
  }

  get deployment(): DeploymentConfig {
    return this.#deployment;
  }

  get name(): string {
    return this.#config.name;
  }

  /** `weight`, else GPUs. */
  get capacity(): number {
    return this.#config.weight ?? (this.#config.replicas * this.#deployment.gpuMillionths) / 1e6;
  }

  get isFull(): boolean {
    return this.inFlight >= (this.#config.maxInFlight ?? Number.POSITIVE_INFINITY);
  }

  /** Takes over a config that is reached in the same way. */
  adopt(deployment: DeploymentConfig, config: UpstreamConfig): void {
    this.#deployment = deployment;
    this.#config = config;
  }

  passiveState(nowMs: number): EjectionState {
    return this.ejection.state(nowMs);
  }

  /** Counts one request of so much work in flight; the lease ends it. `now` gives monotonic ms. */
  occupy(work: number, now: () => number, listener: UpstreamListener): Lease {
    this.inFlight += 1;
    this.work += work;
    const endTrial = this.ejection.state(now()) === 'trial' ? this.ejection.beginTrial() : undefined;
    let isHeld = true;
    const failed = (): void => {
      const forMs = this.ejection.failed(now(), this.#deployment.health.unhealthyAfter);
      if (forMs !== null) listener.ejected(this, forMs);
    };
    return {
      upstream: this,
      answered: (status) => {
        if (status >= 500 && status !== 501) failed();
        else if (this.ejection.succeeded(now())) listener.restored(this);
      },
      failed,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.inFlight -= 1;
        this.work -= work;
        endTrial?.();
        this.#closeWhenDone();
        listener.vacated(this);
      },
    };
  }

  /** The upstream left the config: its connections close when its last request ended. */
  retire(): void {
    this.#retired = true;
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    if (this.#retired && this.inFlight === 0) void this.dispatcher.close();
  }
}
