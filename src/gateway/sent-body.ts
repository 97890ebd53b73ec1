// The body as an engine gets it: spliced once with what the gateway asks for on top, once more without it where an engine refuses that.
import type { FieldChanges } from './adapt-fields.ts';
import type { UsagePlan } from './plan-usage.ts';
import { spliceBody } from './splice-body.ts';

/** What must be taken out of a stream because the gateway, not the client, asked for it. */
export interface UsageRemoval {
  /** The event that is usage alone. */
  readonly chunk: boolean;
  /** The running counts inside other events. */
  readonly running: boolean;
}

export const NO_REMOVAL: UsageRemoval = { chunk: false, running: false };

/** Bytes to send and what they make necessary. */
export interface SentBody {
  readonly bytes: Buffer;
  readonly removal: UsageRemoval;
  /** Whether a field is in it that the gateway put there for itself. */
  readonly injects: boolean;
}

export interface SentBodyOptions {
  /** As the client sent it. */
  readonly body: Buffer;
  /** The engine's name of the model; null leaves the client's. */
  readonly model: string | null;
  readonly plan: UsagePlan;
  /** Null where the deployment changes nothing. */
  readonly fields: FieldChanges | null;
}

/** Both bodies of one request; the second is made only when it is asked for. */
export class SentBodies {
  readonly #options: SentBodyOptions;
  #asking: SentBody | undefined;
  #plain: SentBody | undefined;

  constructor(options: SentBodyOptions) {
    this.#options = options;
  }

  /** With what the plan asks for, or, where it asks nothing, without. */
  get asking(): SentBody {
    const { plan } = this.#options;
    if (plan === 'leave') return this.plain;
    const continuousUsage = plan !== 'inject';
    this.#asking ??= {
      bytes: this.#splice({ includeUsage: true, continuousUsage }),
      removal: { chunk: plan !== 'add-continuous', running: continuousUsage },
      injects: true,
    };
    return this.#asking;
  }

  /** Only what the client sent, for this deployment. */
  get plain(): SentBody {
    this.#plain ??= {
      bytes: this.#splice({ includeUsage: false, continuousUsage: false }),
      removal: NO_REMOVAL,
      injects: false,
    };
    return this.#plain;
  }

  #splice(asks: { readonly includeUsage: boolean; readonly continuousUsage: boolean }): Buffer {
    const { body, model, fields } = this.#options;
    return spliceBody(body, { model, fields, ...asks });
  }
}
