// The joint at which limits and budgets decide about a request, and the admission of a gateway that has none of them.
import type { Caller } from '#domain/caller.ts';

/** What is known of a request before it is sent. */
export interface AdmissionRequest {
  readonly requestId: string;
  readonly deployment: string;
  readonly model: string;
  readonly promptBytes: number;
  readonly maxTokens: number | null;
  readonly sequences: number;
}

/** Held from admission until the request ends, whatever ends it. */
export interface Permit {
  /** Response headers for the client, such as `x-ratelimit-*`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Exactly once; gives back concurrency and unused reservations. Must not throw. */
  release(): void;
}

/** Decides whether a request may go on. Answers without a promise where no store has to be asked. */
export interface Admission {
  /** Throws a GatewayError (429 or 503) to refuse. */
  admit(caller: Caller, request: AdmissionRequest): Permit | Promise<Permit>;
}

const OPEN_PERMIT: Permit = { headers: {}, release() {} };

/** Admits everything, without a round trip. */
export const openAdmission: Admission = { admit: () => OPEN_PERMIT };
