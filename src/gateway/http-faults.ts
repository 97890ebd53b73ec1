// Requests that the parser lets through and that two servers might still read differently: refused before anybody is asked who they are.
// What the parser itself refuses (lengths in conflict, obs-fold, bare LF, NUL, bad chunks) never gets this far.
import type { IncomingMessage } from 'node:http';

/** Headers that decide who is asked and who asks: each may stand once only. */
const ONCE = new Map([
  ['host', { bit: 1, fault: 'The header Host stands more than once.' }],
  ['authorization', { bit: 2, fault: 'The header Authorization stands more than once.' }],
]);

/**
 * Says in public words why a request is refused as malformed (400), or null for a sound one. RFC 9112 §2.3 (version), §3.2 (Host; only the origin
 * form of a target, because an absolute one names a server of its own), §6.1 (chunked is the only transfer coding here).
 */
export function findHttpFault(req: IncomingMessage): string | null {
  const { httpVersion, headers, url = '' } = req;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return 'Only HTTP/1.1 and HTTP/1.0 are spoken here.';
  if (url.charCodeAt(0) !== 0x2f) return 'The request target must be a path.';
  if (url.includes('#')) return 'The request target must hold no fragment.';
  if (headers.host === undefined && httpVersion === '1.1') return 'The header Host is missing.';
  const coding = headers['transfer-encoding'];
  if (coding !== undefined) {
    if (httpVersion === '1.0') return 'HTTP/1.0 knows no Transfer-Encoding.';
    if (coding.toLowerCase() !== 'chunked') return 'The only transfer coding taken here is chunked.';
    if (headers['content-length'] !== undefined) return 'Content-Length and Transfer-Encoding contradict each other.';
  }
  return findRepeated(req.rawHeaders);
}

/** Node keeps the first of some repeated headers and drops the rest unsaid: another server might keep the last. */
function findRepeated(rawHeaders: readonly string[]): string | null {
  let seen = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (name.length !== 4 && name.length !== 13) continue;
    const once = ONCE.get(name.toLowerCase());
    if (once === undefined) continue;
    if ((seen & once.bit) !== 0) return once.fault;
    seen |= once.bit;
  }
  return null;
}
