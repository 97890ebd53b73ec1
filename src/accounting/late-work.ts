// Which attempts have work that came after its window was frozen: it costs nothing, and their records say so. What is counted of it for
// metrics is sync-loop.ts's; facts that come late into windows not sealed yet are late-facts.ts's.
import type { Publication, SyncReply } from '#domain/settlement.ts';
import type { AttemptRegistry } from './attempt-registry.ts';
import type { SliceLine } from './sealed-slices.ts';

/**
 * Publications of an acknowledged message that were dropped. Null: a message that the store had before, of which it may no longer remember
 * what it answered.
 */
export function readLateCount(
  { status, lateCount, frontier }: Pick<SyncReply, 'status' | 'lateCount' | 'frontier'>,
  publications: readonly Pick<Publication, 'window'>[],
): number | null {
  if (status === 'ok' || lateCount > 0) return lateCount;
  const frozenThrough = frontier ?? Number.NEGATIVE_INFINITY;
  return publications.every(({ window }) => window > frozenThrough) ? 0 : null;
}

/**
 * Marks the attempts of a message of which `lateCount` publications were dropped. A store drops whole windows, those up to its frontier, and
 * no process seals beyond the store's clock: so they are the earliest ones.
 */
export function markLateWork(
  registry: AttemptRegistry,
  message: {
    readonly publications: readonly Pick<Publication, 'window'>[];
    readonly slices: readonly SliceLine[];
    readonly lateCount: number | null;
  },
): void {
  const { publications, slices, lateCount } = message;
  if (lateCount === 0) return;
  const windows = publications.map(({ window }) => window).toSorted((a, b) => a - b);
  const lateThrough = lateCount === null ? null : windows[lateCount - 1];
  for (const [recordId, , , window] of slices) {
    const attempt = registry.get(recordId);
    if (attempt === undefined) continue;
    if (lateThrough === null) {
      if (attempt.late === false) attempt.late = null;
    } else if (lateThrough !== undefined && window <= lateThrough) {
      attempt.late = true;
    }
  }
}
