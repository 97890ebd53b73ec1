// Decides whether a publication can enter exact arithmetic at all: a bad one is set aside, so that it never blocks the frontier.
// Not here: whether its pool and deployments have facts (freeze-window.ts).
import type { Publication, WindowFeatures } from '#domain/settlement.ts';
import { parseBusyMap } from './busy-map.ts';
import { BUCKETS_PER_WINDOW } from './work-model.ts';

/**
 * True when every feature is an integer from 0 to 2^53 − 1, every bucket list has ten of them, and the busy map has 1000 bits.
 * Safe on anything that JSON can hold.
 */
export function isSoundPublication(publication: Publication): boolean {
  return (
    isCount(publication.window) &&
    areBuckets(publication.n) &&
    typeof publication.busy === 'string' &&
    parseBusyMap(publication.busy) !== null &&
    isRecord(publication.deployments) &&
    Object.values(publication.deployments).every(areSoundFeatures)
  );
}

function areSoundFeatures(features: WindowFeatures): boolean {
  return (
    isRecord(features) &&
    [features.p, features.q, features.d, features.k, features.flightMs].every(isCount) &&
    areBuckets(features.s) &&
    areBuckets(features.u)
  );
}

function areBuckets(values: unknown): boolean {
  return Array.isArray(values) && values.length === BUCKETS_PER_WINDOW && values.every(isCount);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
