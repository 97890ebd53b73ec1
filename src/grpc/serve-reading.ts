// The gRPC methods that only read: liveness and readiness answered here, the index and all statistics as a union of what a caller may
// use, one model's metadata, configuration, readiness and statistics as its engine says them. They leave no record.
import { type handleUnaryCall, Metadata, status as Status } from '@grpc/grpc-js';
import type { DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import { KSERVE_EXTENSIONS } from '#gateway/kserve-reading.ts';
import type { Upstream } from '#gateway/upstream-pool.ts';
import { describeStatus } from './grpc-status.ts';
import { encodeReady, readNameField, renameModel } from './kserve-messages.ts';
import {
  createAnswerMetadata,
  createUpstreamMetadata,
  type GrpcPlane,
  type OpenCall,
  openCall,
  refuseCall,
  toGatewayError,
} from './open-call.ts';
import {
  BYTES,
  encodeBytesField,
  encodeVarintField,
  readFields,
  replaceTextField,
  sliceValue,
} from './protobuf-reader.ts';

const SERVICE = '/inference.GRPCInferenceService/';
/** A method that reads. Throws the GatewayError, or an engine's own error, that is told. */
type Read = (grpc: GrpcPlane, call: OpenCall, message: Buffer) => Promise<Buffer> | Buffer;

/** One reading method by the name in its path. */
export interface ReadingMethod {
  readonly name: string;
  readonly read: Read;
}

/** Methods of `inference.GRPCInferenceService` that cost no GPU time. */
export const READING_METHODS: readonly ReadingMethod[] = [
  { name: 'ServerLive', read: () => encodeReady(true) },
  {
    name: 'ServerReady',
    read: (grpc, call) => encodeReady(listAllowed(grpc, call).some((one) => isServing(grpc, one))),
  },
  { name: 'ServerMetadata', read: () => describeServer() },
  { name: 'ModelReady', read: readModelReady },
  { name: 'ModelMetadata', read: (grpc, call, message) => askModel(grpc, call, { method: 'ModelMetadata', message }) },
  { name: 'ModelConfig', read: (grpc, call, message) => askModel(grpc, call, { method: 'ModelConfig', message }) },
  { name: 'ModelStatistics', read: readStatistics },
  { name: 'RepositoryIndex', read: readIndex },
];

/** Creates the handler of one reading method. */
export function createReadingHandler(grpc: GrpcPlane, { read }: ReadingMethod): handleUnaryCall<Buffer, Buffer> {
  return async (call, respond) => {
    const { plane } = grpc;
    let team: string | null = null;
    try {
      const opened = openCall(plane, call, ({ caller }) => (team = caller.team));
      respond(null, await read(grpc, opened, call.request));
    } catch (error) {
      if (error instanceof EngineRefusal) respond(error);
      else respond(refuseCall(plane, toGatewayError(plane, error, null), { team, ids: {} }));
    }
  };
}

/** An engine's own status, told unchanged. */
class EngineRefusal extends Error {
  readonly code: Status;
  readonly details: string;
  readonly metadata: Metadata;

  constructor(status: { readonly code: Status; readonly details: string; readonly metadata: Metadata }) {
    const details = describeStatus(status);
    super(details);
    this.name = 'EngineRefusal';
    this.code = status.code;
    this.details = details;
    this.metadata = createAnswerMetadata(status.metadata, {});
  }
}

function describeServer(): Buffer {
  return Buffer.concat([
    encodeBytesField(1, 'inferometer'),
    encodeBytesField(2, '2'),
    ...KSERVE_EXTENSIONS.map((extension) => encodeBytesField(3, extension)),
  ]);
}

function listAllowed({ findView }: GrpcPlane, { caller }: OpenCall): readonly DeploymentConfig[] {
  const { deployments, router } = findView();
  return deployments.filter((deployment) => router.isAllowed(caller, deployment));
}

function isServing({ plane }: GrpcPlane, { name }: DeploymentConfig): boolean {
  return plane.pool.isServing(name);
}

function listEngines({ plane }: GrpcPlane, { name }: DeploymentConfig): readonly Upstream[] {
  return plane.pool.list().filter((upstream) => upstream.deployment.name === name && upstream.healthy !== false);
}

function findDeployment({ findView }: GrpcPlane, call: OpenCall, message: Buffer): DeploymentConfig {
  const named = call.headers['x-inferometer-deployment'];
  const model = readNameField(message, 1);
  return findView().router.route({
    caller: call.caller,
    model: model === '' ? null : model,
    deployment: typeof named === 'string' ? named : undefined,
  });
}

/** Not ready where no engine could be asked; else as an engine says it. */
async function readModelReady(grpc: GrpcPlane, call: OpenCall, message: Buffer): Promise<Buffer> {
  const deployment = findDeployment(grpc, call, message);
  if (!isServing(grpc, deployment)) return encodeReady(false);
  return askModel(grpc, call, { method: 'ModelReady', message });
}

async function askModel(
  grpc: GrpcPlane,
  call: OpenCall,
  question: { readonly method: string; readonly message: Buffer },
): Promise<Buffer> {
  const deployment = findDeployment(grpc, call, question.message);
  const [upstream] = listEngines(grpc, deployment);
  if (upstream === undefined) throw new GatewayError('no_healthy_upstream');
  const message = renameModel(question.message, deployment.servedModel);
  return ask(grpc, call, { upstream, method: question.method, message });
}

/** Without a name: the answers of all engines one after the other, which is how repeated fields of protobuf messages are joined. */
async function readStatistics(grpc: GrpcPlane, call: OpenCall, message: Buffer): Promise<Buffer> {
  if (readNameField(message, 1) !== '') return askModel(grpc, call, { method: 'ModelStatistics', message });
  const engines = listAllowed(grpc, call).flatMap((deployment) => listEngines(grpc, deployment));
  const answers = await Promise.all(
    engines.map((upstream) => {
      const named = renameModel(message, upstream.deployment.servedModel);
      return ask(grpc, call, { upstream, method: 'ModelStatistics', message: named }).catch(() => Buffer.alloc(0));
    }),
  );
  return Buffer.concat(answers);
}

/** One entry per name the caller may use, its state as an engine of the deployment says it. */
async function readIndex(grpc: GrpcPlane, call: OpenCall, message: Buffer): Promise<Buffer> {
  const { deployments, router } = grpc.findView();
  const entries = new Map(
    await Promise.all(
      deployments.map(async (one) => [one.name, await readEntries(grpc, call, { deployment: one, message })] as const),
    ),
  );
  const named = router
    .listModels(call.caller)
    .flatMap(({ id, ownedBy }) => (entries.get(ownedBy) ?? []).map((entry) => replaceTextField(entry, 1, id)));
  return Buffer.concat(named.map((entry) => encodeBytesField(1, entry)));
}

/** ModelIndex messages of a deployment's model; an engine that does not answer leaves it unavailable, unless only ready ones are asked for. */
async function readEntries(
  grpc: GrpcPlane,
  call: OpenCall,
  { deployment, message }: { readonly deployment: DeploymentConfig; readonly message: Buffer },
): Promise<readonly Buffer[]> {
  for (const upstream of listEngines(grpc, deployment)) {
    const answer = await ask(grpc, call, { upstream, method: 'RepositoryIndex', message }).catch(() => null);
    if (answer === null) continue;
    const entries: Buffer[] = [];
    for (const field of readFields(answer)) {
      if (field.number === 1 && field.wireType === BYTES) entries.push(sliceValue(answer, field));
    }
    return entries.filter((entry) => readNameField(entry, 1) === deployment.servedModel);
  }
  const readyOnly = [...readFields(message)].some(({ number }) => number === 2);
  if (readyOnly) return [];
  return [
    Buffer.concat([
      encodeBytesField(1, ''),
      encodeBytesField(3, 'UNAVAILABLE'),
      encodeBytesField(4, 'no engine answers'),
    ]),
  ];
}

const keep = (bytes: Buffer): Buffer => bytes;

/** Asks one engine within its health check's time limit. Rejects with EngineRefusal, or `upstream_unreachable` for UNAVAILABLE. */
function ask(
  { plane, upstreams }: GrpcPlane,
  call: OpenCall,
  question: { readonly upstream: Upstream; readonly method: string; readonly message: Buffer },
): Promise<Buffer> {
  const { upstream, method, message } = question;
  const metadata = createUpstreamMetadata(plane, call, { upstream, requestId: plane.createRequestId() });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => asked.cancel(), upstream.deployment.health.timeoutMs);
    const asked = upstreams
      .get(upstream)
      .makeUnaryRequest(SERVICE + method, keep, keep, message, metadata, (error, answer) => {
        clearTimeout(timer);
        if (error === null) resolve(answer ?? Buffer.alloc(0));
        else if (error.code === Status.UNAVAILABLE) reject(new GatewayError('upstream_unreachable', { cause: error }));
        else if (error.code === Status.CANCELLED) reject(new GatewayError('upstream_timeout'));
        else reject(new EngineRefusal(error));
      });
  });
}

/** `grpc.health.v1.HealthCheckResponse`: SERVING, or NOT_SERVING while the gateway refuses requests. */
export function encodeHealth(isServing: boolean): Buffer {
  return encodeVarintField(1, isServing ? 1 : 2);
}
