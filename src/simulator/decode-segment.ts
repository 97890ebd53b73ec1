// Lives here: one segment of a request's path, decoded. Not here: which route the path means (engine-server.ts, kserve-routes.ts).

/** The segment without its percent signs; one that is badly written stands for itself. */
export function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
