// Finds the deployment that a header names, and the model that a query names, or a body, JSON or multipart form, of which nothing else is known.
import type { IncomingHttpHeaders } from 'node:http';
import { createTooMany, holdsTooMany } from './count-values.ts';

const HEADER_END = Buffer.from('\r\n\r\n');
/** A model's name is short; a form that claims otherwise has none. */
const MAX_NAME_BYTES = 1024;

/** `model` of a URL's query; null where it has none or an empty one. */
export function readQueryModel(url: string): string | null {
  const query = url.indexOf('?');
  return query === -1 ? null : new URLSearchParams(url.slice(query + 1)).get('model') || null;
}

/** The deployment that the header x-inferometer-deployment names; undefined without it. */
export function readNamedDeployment(headers: IncomingHttpHeaders): string | undefined {
  const named = headers['x-inferometer-deployment'];
  return typeof named === 'string' ? named : undefined;
}

/** Whether a body of this content type is JSON. */
export function isJsonType(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/(?:[\w.+-]+\+)?json\b/i.test(contentType);
}

/** Whether a body of this content type can name a model at all. */
export function canNameModel(contentType: string | undefined): boolean {
  return isJsonType(contentType) || (contentType !== undefined && /^multipart\/form-data\b/i.test(contentType));
}

/** The text of `model` at the top of a JSON object or in a form field; null where there is none or the body is broken. Throws 413 `request_too_large`. */
export function readModel(body: Buffer, contentType: string): string | null {
  const boundary = /^multipart\/form-data\b.*?;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType);
  return boundary === null ? readJsonModel(body) : readFormModel(body, boundary[1] ?? boundary[2] ?? '');
}

function readJsonModel(body: Buffer): string | null {
  if (holdsTooMany(body)) throw createTooMany();
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    if (typeof parsed !== 'object' || parsed === null || !('model' in parsed)) return null;
    return typeof parsed.model === 'string' && parsed.model !== '' ? parsed.model : null;
  } catch {
    // The engine shall say what it thinks of the body; here it only names no model.
    return null;
  }
}

/** Walks the parts by their boundary (RFC 7578); file contents are skipped natively, never copied. */
function readFormModel(body: Buffer, boundary: string): string | null {
  const delimiter = Buffer.from(`--${boundary}`);
  let at = body.indexOf(delimiter);
  while (at !== -1) {
    const next = body.indexOf(delimiter, at + delimiter.length);
    const headersEnd = body.indexOf(HEADER_END, at);
    if (next === -1 || headersEnd === -1) return null;
    if (headersEnd < next) {
      const headers = body.toString('latin1', at + delimiter.length, headersEnd);
      const valueStart = headersEnd + HEADER_END.length;
      if (
        /^content-disposition:[^\r\n]*;\s*name="?model"?\s*(?:;|$)/im.test(headers) &&
        next - valueStart <= MAX_NAME_BYTES
      ) {
        return body.toString('utf8', valueStart, next).trim() || null;
      }
    }
    at = next;
  }
  return null;
}
