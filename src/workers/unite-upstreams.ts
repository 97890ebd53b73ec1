// The upstreams of one gateway from what each of its workers knows of them. Not here: the checks themselves (gateway).
import type { WorkerReport } from './worker-messages.ts';

type Upstreams = WorkerReport['upstreams'];

/** Requests in flight summed; healthy where every worker says so, since a request may be any worker's. In the order of the first. */
export function uniteUpstreams(reports: readonly Upstreams[]): Upstreams {
  const united = new Map<string, Upstreams[number]>();
  for (const status of reports.flat()) {
    const key = JSON.stringify([status.deployment, status.upstream]);
    const before = united.get(key);
    const inFlight = (before?.inFlight ?? 0) + status.inFlight;
    united.set(key, { ...status, inFlight, healthy: status.healthy && before?.healthy !== false });
  }
  return [...united.values()];
}
