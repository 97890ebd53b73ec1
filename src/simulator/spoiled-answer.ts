// Lives here: answers that a fault spoils before the engine has anything to do: rubbish, and errors with status 200.
// Not here: faults in the course of an answer (answer-stream.ts, answer-whole.ts).
import type { ServerResponse } from 'node:http';
import { sendJson } from './answer-whole.ts';
import type { FaultSwitches } from './fault-switches.ts';
import type { Flavor } from './flavors/flavor.ts';

/** Sends the spoiled answer if the faults ask for one; true if it did. */
export function sendSpoiledAnswer(
  res: ServerResponse,
  options: { flavor: Flavor; faults: FaultSwitches; stream: boolean },
): boolean {
  const { flavor, faults, stream } = options;
  if (faults.status !== undefined) {
    const problem = flavor.problem(faults.status, 'simulated failure of the engine');
    sendJson(res, problem.status, problem.body);
    return true;
  }
  if (faults.error200 === true) {
    if (!stream) sendJson(res, 200, flavor.problem(500, 'simulated failure of the engine').body);
    else {
      res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      res.end(flavor.errorEvent('simulated failure of the engine'));
    }
    return true;
  }
  if (faults.garbage !== true) return false;
  // No UTF-8, no JSON, a NUL, a line that looks like an event and is none.
  const rubbish = Buffer.concat([
    Buffer.from([0xff, 0xfe, 0x00, 0x80]),
    Buffer.from('data: {"choices":[{"delta":\n\n}}'),
  ]);
  res.writeHead(200, { 'content-type': stream ? 'text/event-stream; charset=utf-8' : 'application/json' });
  res.end(rubbish);
  return true;
}
