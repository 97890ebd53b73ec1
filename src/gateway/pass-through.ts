// Everything that is no metered route: forwarded unread where a deployment allows the path, else refused.
import { GatewayError } from '#domain/errors.ts';
import type { DataPlane } from './data-plane.ts';
import type { RouteHandler } from './serve-request.ts';

/** Creates the handler of last resort. */
export function createPassThroughHandler(_plane: DataPlane): RouteHandler {
  return {
    route: 'other',
    serve({ path }) {
      throw createRouteNotFound(path);
    },
  };
}

/** What every path that is no route answers. */
function createRouteNotFound(path: string): GatewayError {
  if (path === '/v2' || path.startsWith('/v2/')) {
    return new GatewayError('route_not_found', { text: "Triton's /v2 routes are not served by this version." });
  }
  return new GatewayError('route_not_found');
}
