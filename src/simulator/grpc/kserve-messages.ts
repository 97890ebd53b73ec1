// Lives here: KServe's inference messages as the simulated Triton takes and writes them. Field numbers are the published interface
// (triton-inference-server/common, protobuf/grpc_service.proto). Not here: what is generated (infer-call.ts).
import type { JsonObject } from '../inference-request.ts';
import { decodeFields, decodePacked, encodeBytes, encodeNumber, encodePacked } from './wire-format.ts';

/** A request as the model sees it. */
export interface InferRequest {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  /** First element of each input tensor by name. */
  readonly inputs: JsonObject;
}

type Element = string | number | boolean | undefined;

/** Bytes of one element of a datatype, and how it is read. */
const rawReaders: Readonly<Record<string, (raw: Buffer) => Element>> = {
  BOOL: (raw) => raw.readUInt8(0) !== 0,
  INT32: (raw) => raw.readInt32LE(0),
  UINT32: (raw) => raw.readUInt32LE(0),
  INT64: (raw) => Number(raw.readBigInt64LE(0)),
  UINT64: (raw) => Number(raw.readBigUInt64LE(0)),
  FP32: (raw) => raw.readFloatLE(0),
  FP64: (raw) => raw.readDoubleLE(0),
  BYTES: (raw) => raw.toString('utf8', 4, 4 + raw.readUInt32LE(0)),
};

/** Reads a ModelInferRequest. Throws WireFormatError, or RangeError on tensors without contents. */
export function decodeInferRequest(message: Buffer): InferRequest {
  const text = { 1: '', 2: '', 3: '' };
  const tensors: { name: string; datatype: string; element: Element }[] = [];
  const raw: Buffer[] = [];
  for (const { number, value } of decodeFields(message)) {
    if (typeof value === 'bigint') continue;
    if (number === 1 || number === 2 || number === 3) text[number] = value.toString('utf8');
    else if (number === 5) tensors.push(decodeTensor(value));
    else if (number === 7) raw.push(value);
  }
  const entries = tensors.map(({ name, datatype, element }, index) => {
    const bytes = raw[index];
    return [name, bytes === undefined ? element : rawReaders[datatype]?.(bytes)] as const;
  });
  return { modelName: text[1], modelVersion: text[2], id: text[3], inputs: Object.fromEntries(entries) };
}

function decodeTensor(tensor: Buffer): { name: string; datatype: string; element: Element } {
  let name = '';
  let datatype = '';
  let element: Element;
  for (const { number, value } of decodeFields(tensor)) {
    if (typeof value === 'bigint') continue;
    if (number === 1) name = value.toString('utf8');
    else if (number === 2) datatype = value.toString('utf8');
    else if (number === 5) element = decodeContents(value);
  }
  return { name, datatype, element };
}

/** The first element of InferTensorContents: bool, int, int64, uint, uint64, fp32, fp64, bytes have the numbers 1 to 8. */
function decodeContents(contents: Buffer): Element {
  const [first] = decodeFields(contents);
  if (first === undefined) return undefined;
  const { number, value } = first;
  if (number === 8 && typeof value !== 'bigint') return value.toString('utf8');
  if (number === 6 && typeof value !== 'bigint') return value.readFloatLE(0);
  if (number === 7 && typeof value !== 'bigint') return value.readDoubleLE(0);
  const integer = typeof value === 'bigint' ? value : decodePacked(value)[0];
  if (integer === undefined) return undefined;
  return number === 1 ? integer !== 0n : Number(BigInt.asIntN(64, integer));
}

/** What one reply says. */
export interface InferReply {
  readonly modelName: string;
  readonly id: string;
  readonly text: string;
  /** Counts of the prompt, and of this reply's output; null leaves them out. */
  readonly counts: { readonly input: number; readonly output: number } | null;
  /** Whether it is the request's last. */
  readonly isFinal: boolean;
}

/** A ModelInferResponse with its contents raw, as Triton sends them. */
export function encodeInferReply({ modelName, id, text, counts, isFinal }: InferReply): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  const textOutput = { name: 'text_output', datatype: 'BYTES', shape: [1], raw: Buffer.concat([length, bytes]) };
  const outputs: OutputTensor[] = [textOutput];
  if (counts !== null) {
    outputs.push(countTensor('num_input_tokens', counts.input), countTensor('num_output_tokens', counts.output));
  }
  const flag = Buffer.concat([
    encodeBytes(1, 'triton_final_response'),
    // A member of a oneof is written even where it is false.
    encodeBytes(2, isFinal ? encodeNumber(1, true) : Buffer.from([8, 0])),
  ]);
  return Buffer.concat([
    encodeBytes(1, modelName),
    encodeBytes(2, '1'),
    ...(id === '' ? [] : [encodeBytes(3, id)]),
    encodeBytes(4, flag),
    ...outputs.map(({ name, datatype, shape }) =>
      encodeBytes(5, Buffer.concat([encodeBytes(1, name), encodeBytes(2, datatype), encodePacked(3, shape)])),
    ),
    ...outputs.map(({ raw }) => encodeBytes(6, raw)),
  ]);
}

interface OutputTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly raw: Buffer;
}

function countTensor(name: string, count: number): OutputTensor {
  const raw = Buffer.alloc(4);
  raw.writeInt32LE(count);
  return { name, datatype: 'INT32', shape: [1, 1], raw };
}

/** A ModelStreamInferResponse that carries a reply. */
export function encodeStreamReply(reply: Buffer): Buffer {
  return encodeBytes(2, reply);
}

/** A ModelStreamInferResponse that says what is wrong with the request of that id. */
export function encodeStreamError(message: string, id: string): Buffer {
  const named = id === '' ? Buffer.alloc(0) : encodeBytes(3, id);
  return Buffer.concat([encodeBytes(1, message), encodeBytes(2, named)]);
}

/** The first text of a message: the name of a model in the requests that have one. */
export function decodeName(message: Buffer): string {
  const field = decodeFields(message).find(({ number }) => number === 1);
  return field === undefined || typeof field.value === 'bigint' ? '' : field.value.toString('utf8');
}

/** A message whose first field is a truth: live, ready. */
export function encodeFlag(flag: boolean): Buffer {
  return encodeNumber(1, flag);
}

/** ServerMetadataResponse. */
export function encodeServerMetadata(version: string, extensions: readonly string[]): Buffer {
  return Buffer.concat([
    encodeBytes(1, 'triton'),
    encodeBytes(2, version),
    ...extensions.map((extension) => encodeBytes(3, extension)),
  ]);
}

/** ModelMetadataResponse of a model with the given tensors. */
export function encodeModelMetadata(
  name: string,
  tensors: {
    readonly inputs: readonly (readonly [string, string])[];
    readonly outputs: readonly (readonly [string, string])[];
  },
): Buffer {
  const encodeTensor = ([tensor, datatype]: readonly [string, string]): Buffer =>
    // A shape of [-1] as the ten bytes that protobuf gives a negative number.
    Buffer.concat([
      encodeBytes(1, tensor),
      encodeBytes(2, datatype),
      encodeBytes(3, Buffer.from([255, 255, 255, 255, 255, 255, 255, 255, 255, 1])),
    ]);
  return Buffer.concat([
    encodeBytes(1, name),
    encodeBytes(2, '1'),
    encodeBytes(3, 'ensemble'),
    ...tensors.inputs.map((tensor) => encodeBytes(4, encodeTensor(tensor))),
    ...tensors.outputs.map((tensor) => encodeBytes(5, encodeTensor(tensor))),
  ]);
}

/** ModelConfigResponse with what the simulator can say of its model. */
export function encodeModelConfig(name: string): Buffer {
  return encodeBytes(1, Buffer.concat([encodeBytes(1, name), encodeBytes(2, 'ensemble'), encodeNumber(4, 256)]));
}

/** ModelStatisticsResponse with the counts of requests. */
export function encodeModelStatistics(name: string, inferences: number): Buffer {
  const statistics = [
    encodeBytes(1, name),
    encodeBytes(2, '1'),
    encodeNumber(4, inferences),
    encodeNumber(5, inferences),
  ];
  return encodeBytes(1, Buffer.concat(statistics));
}

/** RepositoryIndexResponse with one model. */
export function encodeRepositoryIndex(name: string, ready: boolean): Buffer {
  const state = ready ? 'READY' : 'UNAVAILABLE';
  return encodeBytes(1, Buffer.concat([encodeBytes(1, name), encodeBytes(2, '1'), encodeBytes(3, state)]));
}
