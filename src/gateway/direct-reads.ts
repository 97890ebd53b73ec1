// What arrives on a connection to an engine reaches its reader, undici, at once. node's stream would keep it, announce it in a later tick and be asked
// twice: a twelfth of what a request costs here, and as much of an event (`npm run bench`). Only what the reader leaves is kept by the stream, which
// then has its say as ever. Events of a stream, a whole chunk each, do not even go through the reader's parser: another twentieth of what one costs.
import type { Socket } from 'node:net';
import { ChunkedBody, findDataEnd, findDataStart, LINE_END_BYTES } from './chunked-body.ts';

const HEAD_END = '\r\n\r\n';
const STATUS_LINE = 'HTTP/1.1 2';

const DIRECT = Symbol('direct reads');
type DirectSocket = Socket & { [DIRECT]?: DirectReads };

interface DirectReads {
  readonly push: Socket['push'];
  readonly read: Socket['read'];
  /** What arrived and was not yet asked for. */
  arrived: Buffer | null;
  /** What the reader is being told of; it asks until there is nothing more. */
  telling: Buffer | null;
  /** The body whose whole chunks go to their receiver without the reader. */
  body: ClaimedBody | null;
}

/** Who gets the data of chunks; the reader knows nothing of those it got. */
export interface BodyReceiver {
  /** Whether the reader would give it data now. */
  readonly takesData: boolean;
  /** Takes the data of one chunk, as from the reader. Must not throw. */
  takeData(data: Buffer): void;
}

interface ClaimedBody {
  readonly receiver: BodyReceiver;
  readonly position: ChunkedBody;
}

/** The connection whose reader is being told. */
let told: DirectReads | null = null;

/** From now on whoever listens for `readable` and then calls `read` gets each piece as it arrives. Call once. */
export function readDirectly(socket: Socket): void {
  const direct: DirectSocket = socket;
  direct[DIRECT] = { push: socket.push, read: socket.read, arrived: null, telling: null, body: null };
  // Of all sockets the same functions: there may be thousands of them.
  direct.push = tellOrKeep;
  direct.read = takeOrRead;
}

/**
 * From now on whole chunks of an answer in chunks go to `receiver` directly. Call while the reader tells of the answer's headers; without effect where
 * they did not come in one piece.
 */
export function claimBody(receiver: BodyReceiver): void {
  const piece = told?.telling ?? null;
  if (told === null || piece === null || piece.toString('latin1', 0, STATUS_LINE.length) !== STATUS_LINE) return;
  const headEnd = piece.indexOf(HEAD_END);
  if (headEnd === -1) return;
  const position = new ChunkedBody();
  position.advance(piece, headEnd + HEAD_END.length);
  told.body = { receiver, position };
}

function tellOrKeep(this: DirectSocket, piece: Buffer | null, encoding?: BufferEncoding): boolean {
  const state = this[DIRECT] as DirectReads;
  // What is kept goes first, and the end after all.
  const isNext = piece !== null && state.telling === null && this.readableLength === 0 && !this.readableEnded;
  if (!isNext || this.destroyed || this.listenerCount('readable') === 0) {
    if (piece !== null) follow(state, piece);
    return state.push.call(this, piece, encoding);
  }
  const rest = state.body === null ? piece : passChunks(state.body, piece);
  if (rest === null || this.destroyed) return !this.destroyed;
  follow(state, rest);
  state.arrived = state.telling = rest;
  told = state;
  try {
    this.emit('readable');
  } finally {
    state.telling = told = null;
  }
  const left = takeArrived(state);
  if (left === null) return !this.destroyed;
  return state.push.call(this, left, encoding);
}

/** Passes whole chunks at the beginning of a piece on; returns what is the reader's, null for nothing. */
function passChunks({ receiver, position }: ClaimedBody, piece: Buffer): Buffer | null {
  if (!position.isBetweenChunks) return piece;
  let at = 0;
  while (at < piece.length && receiver.takesData) {
    const start = findDataStart(piece, at);
    const end = start === -1 ? -1 : findDataEnd(piece, at, start);
    if (end === -1) break;
    at = end + LINE_END_BYTES;
    receiver.takeData(piece.subarray(start, end));
  }
  if (at === 0) return piece;
  return at === piece.length ? null : piece.subarray(at);
}

/** The reader gets these bytes, now or later. */
function follow(state: DirectReads, bytes: Buffer): void {
  const position = state.body?.position;
  position?.advance(bytes);
  if (position?.isOver === true) state.body = null;
}

function takeOrRead(this: DirectSocket, size?: number): unknown {
  const state = this[DIRECT] as DirectReads;
  if (size !== undefined) return state.read.call(this, size);
  const arrived = takeArrived(state);
  if (arrived !== null) return arrived;
  return state.telling !== null && this.readableLength === 0 ? null : state.read.call(this);
}

function takeArrived(state: DirectReads): Buffer | null {
  const { arrived } = state;
  state.arrived = null;
  return arrived;
}
