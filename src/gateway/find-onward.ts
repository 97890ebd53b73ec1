// Where a request goes on that no engine has answered: another engine of its deployment, another deployment, or nowhere. One set of rules for
// HTTP and gRPC.
import type { DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import type { Outcome } from '#domain/usage-record.ts';
import type { DataPlane } from './data-plane.ts';
import type { RequestMeter } from './request-meter.ts';
import type { Upstream } from './upstream.ts';

/** Attempts at one deployment, the first included; of those that an engine had received, fewer: the request may be what kills it. */
const MAX_ATTEMPTS = 3;
const MAX_SENT = 2;

/** Refusals that speak of one deployment's engines alone. */
const DEPLOYMENT_REFUSALS: ReadonlySet<string> = new Set(['no_healthy_upstream', 'overloaded']);

/** Another engine of the same deployment, or another deployment. */
export type Onward = 'replica' | DeploymentConfig;

/** An attempt of which nothing has reached the client. */
export interface FailedAttempt {
  readonly outcome: Outcome;
  readonly wasSent: boolean;
  /** The engine answered that it does not take the request. */
  readonly isDeclined: boolean;
}

export interface OnwardOptions {
  readonly plane: Pick<DataPlane, 'pool' | 'onRetry'>;
  readonly deployment: DeploymentConfig;
  readonly meter: Pick<RequestMeter, 'attempts'>;
  /** Attempts at other deployments. */
  readonly attemptsBefore: number;
  /** Engines of the deployment that have failed this request. */
  readonly tried: ReadonlySet<Upstream>;
  /** Another deployment that may serve the request; null for none. */
  readonly findFallback: () => DeploymentConfig | null;
}

/**
 * A connection that never came about may be tried anywhere else, a request that was lost with its connection once more, as long as there is
 * another engine, and retries of what was sent are a small part of the traffic. Engines of the same deployment come first; a request that all
 * of them declined or could not be reached for goes on to another deployment.
 */
export function findOnward(failure: FailedAttempt, options: OnwardOptions): Onward | null {
  const { plane, deployment, meter, attemptsBefore, tried, findFallback } = options;
  const { outcome, wasSent, isDeclined } = failure;
  if (outcome !== 'upstream_error') return null;
  const isLost = wasSent && !isDeclined;
  const here = meter.attempts - attemptsBefore;
  // A sent request is counted already, one whose connection failed is counted with its record.
  const isSpent = isLost ? meter.attempts >= MAX_SENT : wasSent ? here >= MAX_SENT : here + 1 >= MAX_ATTEMPTS;
  if (isSpent && isLost) return null;
  let answer = isSpent ? 'alone' : plane.pool.askRetry(deployment.name, tried, failure);
  if (answer === 'granted') return 'replica';
  const fallback = answer === 'spent' ? null : findFallback();
  if (fallback !== null) answer = plane.pool.askFallback(deployment.name, failure);
  if (answer === 'spent') plane.onRetry(deployment.name, 'refused');
  return answer === 'granted' ? fallback : null;
}

/** The deployment to go on to where nobody of this one takes the request on: nobody was asked, so it is no retry. Null for other errors. */
export function leaveRefusing(error: unknown, findFallback: () => DeploymentConfig | null): DeploymentConfig | null {
  return error instanceof GatewayError && DEPLOYMENT_REFUSALS.has(error.code) ? findFallback() : null;
}
