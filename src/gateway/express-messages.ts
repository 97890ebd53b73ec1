// Requests and answers that are Express's from the start. Express puts its own prototype under each of them when a request comes, which makes
// two kinds of one object for all code that touches it, node's own included; where the prototype is there already, nothing changes.
import type { ServerOptions } from 'node:http';
import type { Express } from 'express';
import { IncomingMessage, ServerResponse } from './node-http.ts';

type Messages = Required<Pick<ServerOptions, 'IncomingMessage' | 'ServerResponse'>>;

/** Classes for `createServer` whose objects the app takes as they are. */
export function createMessageClasses(app: Pick<Express, 'request' | 'response'>): Messages {
  return {
    IncomingMessage: inherit<typeof IncomingMessage>(IncomingMessage, app.request),
    ServerResponse: inherit<typeof ServerResponse>(ServerResponse, app.response),
  };
}

/** `base` with another prototype for what it makes; `prototype` inherits from that of `base`. */
function inherit<T extends new (...args: never[]) => object>(base: T, prototype: object): T {
  function Message(...args: never[]): object {
    return Reflect.construct(base, args, Message);
  }
  Message.prototype = prototype;
  return Message as unknown as T;
}
