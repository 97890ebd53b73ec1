// Which deployment a request is for, as its records tell it: said anew for each that is tried.
import type { DeploymentConfig } from '#config/config.ts';
import type { RequestMeter } from './request-meter.ts';

/** Every record from now on names this deployment and its canonical model. */
export function nameDeployment(meter: RequestMeter, deployment: DeploymentConfig): void {
  meter.deployment = deployment.name;
  meter.model = deployment.models[0] ?? null;
}
