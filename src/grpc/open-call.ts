// What every gRPC call goes through whatever it wants: who asks, its ids and tags, which metadata reaches an engine, and how a failure
// becomes a status. The counterpart of gateway/serve-request for HTTP.
import type { IncomingHttpHeaders } from 'node:http';
import { Metadata } from '@grpc/grpc-js';
import type { Caller } from '#domain/caller.ts';
import { GatewayError } from '#domain/errors.ts';
import type { DataPlane } from '#gateway/data-plane.ts';
import type { KserveView } from '#gateway/kserve-routes.ts';
import { createRequestHeaders } from '#gateway/request-headers.ts';
import { readClientRequestId } from '#gateway/request-id.ts';
import { RequestMeter } from '#gateway/request-meter.ts';
import { createIdHeaders } from '#gateway/response-headers.ts';
import { parseTags } from '#gateway/read-tags.ts';
import type { Upstream } from '#gateway/upstream-pool.ts';
import { type Refusal, toServerError } from './grpc-status.ts';
import type { GrpcUpstreams } from './grpc-upstreams.ts';
import { MalformedMessageError } from './protobuf-reader.ts';

/** What the calls share. */
export interface GrpcPlane {
  readonly plane: DataPlane;
  readonly upstreams: GrpcUpstreams;
  /** The deployments that speak KServe, in the config in force. */
  readonly findView: () => KserveView;
}

/** The part of a server call that all kinds have. */
export interface IncomingCall {
  readonly metadata: Metadata;
  getPeer(): string;
}

/** An authenticated call. */
export interface OpenCall {
  readonly caller: Caller;
  readonly headers: IncomingHttpHeaders;
  readonly metadata: Metadata;
  readonly clientRequestId: string | null;
  readonly tags: Readonly<Record<string, string>>;
  /** Attempts the client's library made before, by `grpc-previous-rpc-attempts`. */
  readonly clientRetry: number;
}

/** Never forwarded besides what HTTP strips: they are the transport's own, or meant for HTTP bodies. */
const TRANSPORT = /^(?:grpc-|:)|^(?:accept-encoding|content-type|user-agent)$/;

/** Who calls, by metadata and peer. Throws 401 `invalid_api_key` or `unknown_team`. */
export function identifyCall(plane: DataPlane, call: IncomingCall): Pick<OpenCall, 'caller' | 'headers'> {
  const headers = readHeaders(call.metadata);
  return {
    headers,
    caller: plane.view.authenticate({ headers, socket: { remoteAddress: readAddress(call.getPeer()) } }),
  };
}

/**
 * Identifies a call. Throws 401 `invalid_api_key` or `unknown_team` with nothing recorded, 503 `draining`, 400 `invalid_tags`. A refusal
 * after the identity is told to `onIdentified` first, so that it leaves a record.
 */
export function openCall(
  plane: DataPlane,
  call: IncomingCall,
  onIdentified: (call: OpenCall) => void = () => {},
): OpenCall {
  const { caller, headers } = identifyCall(plane, call);
  const previous = String(headers['grpc-previous-rpc-attempts'] ?? '');
  const opened: OpenCall = {
    caller,
    headers,
    metadata: call.metadata,
    clientRequestId: readClientRequestId(headers['x-request-id']),
    tags: {},
    clientRetry: /^\d{1,3}$/.test(previous) ? Number(previous) : 0,
  };
  onIdentified(opened);
  if (plane.isRefusing()) throw new GatewayError('draining', { headers: { 'retry-after': '1' } });
  return { ...opened, tags: parseTags(headers['x-inferometer-tags']) };
}

/** The meter of one request of a call, under an id of its own. */
export function createMeter(
  plane: DataPlane,
  call: OpenCall,
  request: { readonly route: string; readonly receivedAtMs: number; readonly clientRequestId?: string | null },
): RequestMeter {
  const meter = new RequestMeter(plane, {
    requestId: plane.createRequestId(),
    clientRequestId: request.clientRequestId ?? call.clientRequestId,
    caller: call.caller,
    route: request.route,
    receivedAtMs: request.receivedAtMs,
    clientRetry: call.clientRetry,
  });
  meter.tags = call.tags;
  return meter;
}

/** Metadata that names a request in every answer. */
export function createIds(meter: Pick<RequestMeter, 'requestId' | 'clientRequestId'>): Record<string, string> {
  return createIdHeaders(meter.requestId, meter.clientRequestId);
}

/** Metadata as an engine gets it: the client's by the rules of HTTP headers, the gateway's id, the upstream's own. */
export function createUpstreamMetadata(
  plane: DataPlane,
  call: OpenCall,
  target: { readonly upstream: Upstream; readonly requestId: string },
): Metadata {
  const metadata = new Metadata();
  const list = createRequestHeaders(call.headers, {
    requestId: target.requestId,
    upstream: target.upstream.config,
    teamHeader: plane.view.config.tenancy.header.name,
  });
  for (let index = 0; index + 1 < list.length; index += 2) {
    const name = list[index] ?? '';
    if (!TRANSPORT.test(name)) metadata.add(name, list[index + 1] ?? '');
  }
  for (const [name, values] of Object.entries(call.metadata.toJSON())) {
    if (name.endsWith('-bin')) for (const value of values) metadata.add(name, value);
  }
  return metadata;
}

/** An engine's metadata with the gateway's ids in place of its own; internal names never come from an engine. */
export function createAnswerMetadata(theirs: Metadata, own: Readonly<Record<string, string>>): Metadata {
  const metadata = theirs.clone();
  for (const name of Object.keys(theirs.getMap())) {
    if (name === 'x-request-id' || name === 'date' || name === 'content-type' || name.startsWith('x-inferometer-')) {
      metadata.remove(name);
    }
  }
  for (const [name, value] of Object.entries(own)) metadata.set(name, value);
  return metadata;
}

/** What a failure is told as; one inside the gateway is logged, every one counted. */
export function toGatewayError(plane: DataPlane, error: unknown, requestId: string | null): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof MalformedMessageError) {
    return new GatewayError('invalid_request', { text: error.message });
  }
  const err = error instanceof Error ? { name: error.name, message: error.message, stack: error.stack } : {};
  plane.log.error({ err, requestId }, 'a gRPC call failed inside the gateway');
  return new GatewayError('internal_error', { cause: error });
}

/** Counts a refusal and renders it. */
export function refuseCall(
  plane: DataPlane,
  error: GatewayError,
  options: { readonly team: string | null; readonly ids: Readonly<Record<string, string>> },
): Refusal {
  plane.onRejection(options.team, error.code);
  return toServerError(error, options.ids);
}

function readHeaders(metadata: Metadata): IncomingHttpHeaders {
  const headers: IncomingHttpHeaders = {};
  for (const [name, values] of Object.entries(metadata.toJSON())) {
    if (!name.endsWith('-bin')) headers[name] = values.map(String).join(', ');
  }
  return headers;
}

/** `ip:port` or `[ip]:port` without the port. */
function readAddress(peer: string): string {
  return peer.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}
