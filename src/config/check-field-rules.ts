// What `dropFields` and `defaults` of a deployment may not do: take away or make up the fields that decide where a request goes and how it
// is answered. Applying them is the gateway's adapt-fields.
import type { ConfigPath, ProblemList } from './problem.ts';
import type { DeploymentInput } from './schema-deployments.ts';

const UNDROPPABLE: Readonly<Record<string, string>> = {
  model: 'model is what engines choose by, and servedModel is what they get: it cannot be left out',
};

const NO_DEFAULTS: Readonly<Record<string, string>> = {
  model: 'a request reaches this deployment by its model: the name that engines get is servedModel',
  stream: 'whether an answer streams is its client’s to say: one that did not ask could not read it',
  stream_options:
    'stream_options goes with stream, and usage is asked for by the gateway itself (continuousUsage for running counts)',
};

/** Adds a problem for each field that must be left alone; case counts, as it does in JSON. */
export function checkFieldRules(
  value: Pick<DeploymentInput, 'dropFields' | 'defaults'>,
  path: ConfigPath,
  findings: ProblemList,
): void {
  for (const [index, field] of value.dropFields.entries()) {
    const reason = Object.hasOwn(UNDROPPABLE, field) ? UNDROPPABLE[field] : undefined;
    if (reason !== undefined) findings.add([...path, 'dropFields', index], reason);
  }
  for (const field of Object.keys(value.defaults)) {
    const reason = Object.hasOwn(NO_DEFAULTS, field) ? NO_DEFAULTS[field] : undefined;
    if (reason !== undefined) findings.add([...path, 'defaults', field], reason);
  }
}
