// What the HTTP edge answered to a request whose body stopped being HTTP after its handler had begun: the handler only sees its client go.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

const statuses = new WeakMap<Duplex, number>();

/** The edge has answered on this connection with a status of its own, and ends it. */
export function noteWireRefusal(socket: Duplex, status: number): void {
  statuses.set(socket, status);
}

/** The status with which the edge refused this very request; null where its body was complete, or its client simply left. */
export function readWireRefusal(req: IncomingMessage): number | null {
  return req.complete ? null : (statuses.get(req.socket) ?? null);
}
