// Request bodies that come compressed: decoded here, within the same limit as any other, because the gateway must read and change them and
// most engines cannot decode them. What is forwarded unread keeps its coding.
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, constants, gunzip, inflate, zstdDecompress } from 'node:zlib';
import { GatewayError } from '#domain/errors.ts';

type Decode = (bytes: Buffer, options: { readonly maxOutputLength: number }) => Promise<Buffer>;

/** A window of 8 MiB is what decoders of zstd must support and encoders may use (RFC 9659). */
const ZSTD_WINDOW_LOG_MAX = 23;
const unzstd = promisify(zstdDecompress);

/** Decoders by content coding, each off the event loop. */
const DECODERS: Readonly<Record<string, Decode>> = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: (bytes, options) =>
    unzstd(bytes, { ...options, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } }),
};
const ACCEPTED = 'gzip, deflate, br, zstd';

/** The coding of a request's body; null for none. Throws 415 `unsupported_encoding` for one that is not known, and for several at once. */
export function readCoding(req: IncomingMessage): string | null {
  const coding = req.headers['content-encoding']?.trim().toLowerCase() ?? '';
  if (coding === '' || coding === 'identity') return null;
  if (Object.hasOwn(DECODERS, coding)) return coding;
  throw new GatewayError('unsupported_encoding', {
    text: `The content-encoding of the request body is not supported: send ${ACCEPTED} or none.`,
    param: 'content-encoding',
    headers: { 'accept-encoding': ACCEPTED },
  });
}

/**
 * The decoded body. Rejects with 413 `request_too_large` as soon as it grows over `maxBytes`, however small it came, and with 400
 * `invalid_request` for bytes that are not in the coding named.
 */
export async function decodeBody(bytes: Buffer, coding: string, maxBytes: number): Promise<Buffer> {
  try {
    return (await DECODERS[coding]?.(bytes, { maxOutputLength: maxBytes })) ?? bytes;
  } catch (error) {
    if (error instanceof RangeError) {
      const text = `The request body is larger than ${maxBytes} bytes when decoded.`;
      throw new GatewayError('request_too_large', { text });
    }
    // The decoder's own words are left out: they say nothing that the coding's name does not.
    const text = `The request body is not valid ${coding}.`;
    throw new GatewayError('invalid_request', { text, param: 'content-encoding' });
  }
}
