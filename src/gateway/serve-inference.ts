// The metered inference routes: read the body, find the deployment, change the body by splicing. Admission and relaying are relay-by-rank's.
import { hash } from 'node:crypto';
import type { DeploymentConfig, PrivacyConfig } from '#config/config.ts';
import { adaptFields, type FieldChanges, hasFieldRules } from './adapt-fields.ts';
import type { DataPlane } from './data-plane.ts';
import { keepText } from './kept-text.ts';
import type { MeteredRoute } from './metered-routes.ts';
import { type ParsedRequest, parseFields, readRequest } from './parse-request.ts';
import { planUsage } from './plan-usage.ts';
import { hashPromptPrefix } from './prompt-prefix.ts';
import { readQueryModel } from './read-model.ts';
import { receiveBody } from './receive-body.ts';
import { refuseBackground } from './refuse-background.ts';
import { chooseDeployment, relayByRank } from './relay-by-rank.ts';
import { SentBodies } from './sent-body.ts';
import type { Exchange, RouteHandler } from './serve-request.ts';

/** Creates the handler of one metered route. */
export function createInferenceHandler(plane: DataPlane, route: MeteredRoute): RouteHandler {
  return { route: route.path, serve: (exchange) => serveInference(plane, route, exchange) };
}

async function serveInference(plane: DataPlane, route: MeteredRoute, exchange: Exchange): Promise<void> {
  const { req, meter } = exchange;
  const { config, router } = plane.view;
  const body = await receiveBody(plane, exchange);
  const sentFields = parseFields(body);
  const asked = readRequest(sentFields, route.shape);
  meter.requestedModel = asked.model ?? readQueryModel(req.url ?? '');
  meter.stream = asked.stream;
  meter.user = readUser(asked, config.privacy);
  await relayByRank(plane, exchange, {
    ranking: chooseDeployment(router, exchange),
    promptBytes: body.length,
    draft(deployment) {
      const adapted = hasFieldRules(deployment) ? adaptFields(sentFields, deployment, route.shape) : null;
      refuseBackground(adapted?.fields ?? sentFields, route.shape, plane.engines[deployment.engine]);
      const request = adapted === null ? asked : readRequest(adapted.fields, route.shape);
      const changes = adapted === null ? null : adapted.changes;
      const { affinity } = deployment;
      return {
        request,
        complete: () => ({
          route,
          bodies: createBodies(plane, { body, request, route, deployment, changes }),
          prefix: affinity === undefined ? null : hashPromptPrefix(body, affinity.prefixBytes),
        }),
      };
    },
  });
}

/** The body as the engine gets it, with what asks for usage and without. */
function createBodies(
  plane: DataPlane,
  options: {
    readonly body: Buffer;
    readonly request: ParsedRequest;
    readonly route: MeteredRoute;
    readonly deployment: DeploymentConfig;
    readonly changes: FieldChanges | null;
  },
): SentBodies {
  const { body, request, route, deployment, changes } = options;
  const traits = plane.engines[deployment.engine];
  const isUnasked =
    !route.takesStreamOptions || traits === undefined || deployment.dropFields.includes('stream_options');
  const plan = isUnasked ? 'leave' : planUsage(request, traits, deployment.continuousUsage === true);
  const model = request.model === deployment.servedModel ? null : deployment.servedModel;
  return new SentBodies({ body, model, plan, fields: changes });
}

/** OpenAI's `user` after `privacy.user`; a hash keeps people apart in reports without naming them. */
function readUser(request: ParsedRequest, privacy: PrivacyConfig): string | null {
  if (request.user === null || privacy.user === 'drop') return null;
  if (privacy.user === 'hash') return `sha256:${hash('sha256', request.user, 'hex').slice(0, 32)}`;
  return keepText(request.user);
}
