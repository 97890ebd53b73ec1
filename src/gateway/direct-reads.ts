// What arrives on a connection to an engine reaches its reader, undici, at once. node's stream would keep it, announce it in a later tick and be asked
// twice: a twelfth of what a request costs here, and as much of an event (`npm run bench`). Only what the reader leaves is kept by the stream, which
// then has its say as ever.
import type { Socket } from 'node:net';

const DIRECT = Symbol('direct reads');
type DirectSocket = Socket & { [DIRECT]?: DirectReads };

interface DirectReads {
  readonly push: Socket['push'];
  readonly read: Socket['read'];
  /** What arrived and was not yet asked for. */
  arrived: Buffer | null;
  /** The reader is being told; it asks until there is nothing more. */
  isTelling: boolean;
}

/** From now on whoever listens for `readable` and then calls `read` gets each piece as it arrives. Call once. */
export function readDirectly(socket: Socket): void {
  const direct: DirectSocket = socket;
  direct[DIRECT] = { push: socket.push, read: socket.read, arrived: null, isTelling: false };
  // Of all sockets the same functions: there may be thousands of them.
  direct.push = tellOrKeep;
  direct.read = takeOrRead;
}

function tellOrKeep(this: DirectSocket, piece: Buffer | null, encoding?: BufferEncoding): boolean {
  const state = this[DIRECT] as DirectReads;
  // What is kept goes first, and the end after all.
  const isNext = piece !== null && !state.isTelling && this.readableLength === 0 && !this.readableEnded;
  if (!isNext || this.destroyed || this.listenerCount('readable') === 0) return state.push.call(this, piece, encoding);
  state.arrived = piece;
  state.isTelling = true;
  try {
    this.emit('readable');
  } finally {
    state.isTelling = false;
  }
  const left = takeArrived(state);
  if (left === null) return !this.destroyed;
  return state.push.call(this, left, encoding);
}

function takeOrRead(this: DirectSocket, size?: number): unknown {
  const state = this[DIRECT] as DirectReads;
  if (size !== undefined) return state.read.call(this, size);
  const arrived = takeArrived(state);
  if (arrived !== null) return arrived;
  return state.isTelling && this.readableLength === 0 ? null : state.read.call(this);
}

function takeArrived(state: DirectReads): Buffer | null {
  const { arrived } = state;
  state.arrived = null;
  return arrived;
}
