// GET /v1/models and /v1/models/{id}, answered from the config: what this caller may ask for, not what engines happen to load.
import type { ServerResponse } from 'node:http';
import { GatewayError } from '#domain/errors.ts';
import type { DataPlane } from './data-plane.ts';
import type { ModelEntry } from './route-model.ts';
import type { Exchange, RouteHandler } from './serve-request.ts';

/** Creates the handler; `startedAtMs` (epoch) becomes `created`, since a config knows no better date. */
export function createModelsHandler(plane: DataPlane, startedAtMs: number): RouteHandler {
  const created = Math.floor(startedAtMs / 1000);
  const render = ({ id, ownedBy }: ModelEntry) => ({ id, object: 'model', created, owned_by: ownedBy });
  return {
    route: '/v1/models',
    serve({ path, meter, res, idHeaders }: Exchange): void {
      const entries = plane.view.router.listModels(meter.caller);
      if (path === '/v1/models') {
        sendJson(res, { headers: idHeaders, body: { object: 'list', data: entries.map(render) } });
        return;
      }
      const id = decodeId(path.slice('/v1/models/'.length));
      const entry = entries.find((candidate) => candidate.id === id);
      if (entry === undefined) throw new GatewayError('model_not_found', { param: 'model' });
      sendJson(res, { headers: idHeaders, body: render(entry) });
    },
  };
}

/** Slashes may come raw or as %2F; what is no percent-encoding is taken as it stands. */
function decodeId(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

/** Answers with JSON, 200 unless `status` says otherwise. */
export function sendJson(
  res: ServerResponse,
  answer: { readonly body: unknown; readonly headers?: Readonly<Record<string, string>>; readonly status?: number },
): void {
  const body = JSON.stringify(answer.body);
  res.writeHead(answer.status ?? 200, {
    ...answer.headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  });
  res.end(body);
}
