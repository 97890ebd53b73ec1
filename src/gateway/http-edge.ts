// Between the socket and the first handler: bytes that are no sound HTTP get their answer here, are counted, and leave no record.
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Server as TlsServer } from 'node:tls';
import { ERROR_KINDS } from '#domain/errors.ts';
import { answerPreflight } from './cors.ts';
import type { DataPlane } from './data-plane.ts';
import { holdContinue } from './expect-continue.ts';
import { findHttpFault } from './http-faults.ts';
import { noteWireRefusal } from './wire-refusals.ts';

/** How long a client that was refused may take to close its side: a connection that is closed at once takes the answer's last bytes with it. */
const LINGER_MS = 2_000;

/** Puts the edge in front of a handler: what comes through is sound HTTP and no preflight. */
export function attachHttpEdge(server: Server, plane: DataPlane, handle: RequestListener): void {
  const edge = new HttpEdge(plane, handle);
  const connected = server instanceof TlsServer ? 'secureConnection' : 'connection';
  server.on(connected, (socket: Socket) => plane.sends.attach(socket));
  server.on('request', (req, res) => edge.receive(req, res));
  server.on('checkContinue', (req, res) => {
    holdContinue(req, res);
    edge.receive(req, res);
  });
  server.on('checkExpectation', (req, res) =>
    edge.refuse(req, res, { status: 417, text: 'The only expectation met here is 100-continue.' }),
  );
  server.on('connect', (_req, socket) => edge.refuseTunnel(socket));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => edge.parsingFailed(socket, error.code));
}

class HttpEdge {
  readonly #plane: DataPlane;
  readonly #handle: RequestListener;
  /** Connections that end with a refusal: whatever else came with it is not read as a request. */
  readonly #condemned = new WeakSet<Duplex>();

  constructor(plane: DataPlane, handle: RequestListener) {
    this.#plane = plane;
    this.#handle = handle;
  }

  receive(req: IncomingMessage, res: ServerResponse): void {
    if (this.#condemned.has(req.socket)) return;
    this.#plane.answers.begin(req.socket, res);
    const fault = findHttpFault(req);
    if (fault !== null) this.refuse(req, res, { status: 400, text: fault });
    else if (!answerPreflight(this.#plane.view.config.server.cors, req, res)) this.#handle(req, res);
  }

  /** The connection ends with it: where the next request begins can no longer be trusted. */
  refuse(req: IncomingMessage, res: ServerResponse, answer: { readonly status: number; readonly text: string }): void {
    if (this.#condemned.has(req.socket)) return;
    this.#condemned.add(req.socket);
    this.#plane.onRejection(null, 'malformed_http');
    const body = renderEnvelope(answer.text);
    res.writeHead(answer.status, {
      connection: 'close',
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
    });
    res.end(body);
  }

  refuseTunnel(socket: Duplex): void {
    socket.on('error', () => {});
    if (!this.#condemned.has(socket)) {
      this.#answerRaw(socket, {
        status: '400 Bad Request',
        text: 'This is no proxy: CONNECT is not served.',
      });
    }
  }

  /** Bytes that are no HTTP, or headers or a body that did not come in time. */
  parsingFailed(socket: Duplex, code: string | undefined): void {
    if (this.#condemned.has(socket)) return;
    if (code === 'ECONNRESET' || !socket.writable) socket.destroy();
    else this.#answerRaw(socket, findParserError(code));
  }

  #answerRaw(socket: Duplex, error: RawError): void {
    this.#condemned.add(socket);
    this.#plane.onRejection(null, 'malformed_http');
    // Raw bytes must not fall into the middle of one.
    const answer = this.#plane.answers.find(socket);
    const isAnswering = answer !== undefined && !answer.writableFinished;
    if (isAnswering && (answer.headersSent || answer.socket === null)) {
      socket.destroy();
      return;
    }
    if (!error.isGone) noteWireRefusal(socket, Number.parseInt(error.status, 10));
    socket.end(renderRawError(error));
    // Nobody else does: node reads no more requests of it, and waits for the client.
    const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
    socket.once('close', () => clearTimeout(timer));
  }
}

/** An answer without a response object. */
interface RawError {
  /** With its reason phrase. */
  readonly status: string;
  readonly text: string;
  /** The client sends no more of a request that it began: it has left, or nearly. */
  readonly isGone?: boolean;
}

/** What bytes that never became a request are told. */
function findParserError(code: string | undefined): RawError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return { status: '408 Request Timeout', text: ERROR_KINDS.request_timeout.text };
  if (code === 'HPE_HEADER_OVERFLOW')
    return { status: '431 Request Header Fields Too Large', text: 'The request headers are too large.' };
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW')
    return { status: '413 Content Too Large', text: 'The chunk extensions are too large.' };
  return {
    status: '400 Bad Request',
    text: 'The request is not valid HTTP.',
    isGone: code === 'HPE_INVALID_EOF_STATE',
  };
}

function renderRawError({ status, text }: RawError): string {
  const body = renderEnvelope(text);
  const length = Buffer.byteLength(body);
  return `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${length}\r\n\r\n${body}`;
}

function renderEnvelope(message: string): string {
  return JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code: 'invalid_request' } });
}
