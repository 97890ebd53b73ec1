// Asks limits and budgets whether a routed request may go on. Which model a caller may use was settled by route-model.
import type { DeploymentConfig } from '#config/config.ts';
import type { Admission, Permit } from '#tenancy/admission.ts';
import type { ParsedRequest } from './parse-request.ts';
import type { RequestMeter } from './request-meter.ts';

const FREE_PERMIT: Permit = { headers: {}, release() {} };

/** Admits a request; callers without limits cost no call. Throws the GatewayError (429, 503) that refuses it. */
export function admit(
  admission: Admission,
  meter: RequestMeter,
  options: { readonly deployment: DeploymentConfig; readonly request: ParsedRequest; readonly promptBytes: number },
): Permit | Promise<Permit> {
  if (!meter.caller.limited) return FREE_PERMIT;
  const { deployment, request, promptBytes } = options;
  return admission.admit(meter.caller, {
    requestId: meter.requestId,
    deployment: deployment.name,
    model: deployment.models[0] ?? deployment.name,
    promptBytes,
    maxTokens: request.maxTokens,
    sequences: request.sequences,
  });
}
