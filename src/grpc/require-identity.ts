// The first look at a call, on its metadata alone: grpc-js reads the whole message of a unary call before its handler sees it, and nobody
// without a key may fill memory with messages. Handlers identify a call again, for themselves.
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import type { DataPlane } from '#gateway/data-plane.ts';
import { identifyCall, refuseCall, toGatewayError } from './open-call.ts';

/** Refuses what has no identity before any of its message is read; `open` holds the paths that need none. */
export function createIdentityInterceptor(plane: DataPlane, open: ReadonlySet<string>): ServerInterceptor {
  return ({ path }, call) => {
    if (open.has(path)) return new ServerInterceptingCall(call);
    return new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata(metadata, proceed) {
            try {
              identifyCall(plane, { metadata, getPeer: () => call.getPeer() });
            } catch (error) {
              const known = toGatewayError(plane, error, null);
              call.sendStatus(refuseCall(plane, known, { team: null, ids: {} }));
              return;
            }
            proceed(metadata);
          },
        });
      },
    });
  };
}
