// `expect: 100-continue`: a client that asks before it uploads is told to go on when somebody wants its body, and not before, so that
// a refusal costs it no upload.
import type { IncomingMessage, ServerResponse } from 'node:http';

const waiting = new WeakMap<IncomingMessage, () => void>();

/** Keeps back the 100 of a request until `askForBody`. Without it the connection ends with the answer: the body may come or not. */
export function holdContinue(req: IncomingMessage, res: ServerResponse): void {
  const keepsAlive = res.shouldKeepAlive;
  res.shouldKeepAlive = false;
  waiting.set(req, () => {
    res.shouldKeepAlive = keepsAlive;
    res.writeContinue();
  });
}

/** The body is wanted now. Does nothing for a client that sends unasked. */
export function askForBody(req: IncomingMessage): void {
  if (req.headers.expect === undefined) return;
  const proceed = waiting.get(req);
  waiting.delete(req);
  proceed?.();
}
