// Requests as bytes for the harness's gateway and key.
import { chatBody, SEARCH_KEY } from './harness.ts';

export const AUTH = `authorization: Bearer ${SEARCH_KEY}\r\n`;
export const HEAD = `host: x\r\n${AUTH}`;
export const BODY = JSON.stringify(chatBody());
export const POST = `POST /v1/chat/completions HTTP/1.1\r\n${HEAD}`;
export const CHUNKED = `${POST}transfer-encoding: chunked\r\n\r\n`;
export const ONE = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;
export const LENGTH = `content-length: ${BODY.length}\r\n`;
export const chat = (headers = ''): string => `${POST}${headers}${LENGTH}\r\n${BODY}`;
export const get = (target: string, headers = HEAD, version = 'HTTP/1.1'): string =>
  `GET ${target} ${version}\r\n${headers}\r\n`;
