// Which paths may be forwarded unread: those a deployment's globs name, and never one that controls an engine.

import { isControlPath } from './control-routes.ts';

/** Characters that let one path look like another to the next server. */
const SUSPICIOUS = /\/\/|\/\.{1,2}(?:\/|$)|[\\;\s\p{Cc}]/u;

/** The path decoded once, as globs see it; null for a spelling that the next server may read as another path. */
export function readSafePath(path: string): string | null {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return null;
  }
  return SUSPICIOUS.test(decoded) || decoded.includes('%') || /%2f/i.test(path) ? null : decoded;
}

/** The same; null too for a path that controls an engine, which no glob of `passThrough` lets through. */
export function readForwardablePath(path: string): string | null {
  const decoded = readSafePath(path);
  return decoded === null || isControlPath(decoded) ? null : decoded;
}

/** Compiles path globs: `*` stands for any characters, slashes included; everything else for itself. */
export function createPathFilter(globs: readonly string[]): (path: string) => boolean {
  const patterns = globs.map((glob) => {
    const source = glob.replace(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replace(/\*+/g, '.*');
    return new RegExp(`^${source}$`, 's');
  });
  return (path) => patterns.some((pattern) => pattern.test(path));
}
