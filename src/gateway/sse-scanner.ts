// Follows a server-sent event stream chunk by chunk: finds whole events whatever the chunks, and can take single events out of the
// bytes. What an event means is the reader's concern; bytes that stay are never changed.

const LF = 0x0a;
const CR = 0x0d;
const LINE_END = Buffer.from('\n');

/** Of longer events only the two ends are read; bounds what is kept of an unfinished event. */
export const MAX_EVENT_BYTES = 256 * 1024;
/** How much of a longer event is kept to be read: its type stands at one of its ends, its usage near the last. */
const HEAD_BYTES = 1024;
const TAIL_BYTES = 64 * 1024;

/** Bytes of an event to be replaced, as offsets into the buffer the reader was given, end exclusive. */
export interface EventCut {
  readonly start: number;
  readonly end: number;
  /** In their place; null for nothing. */
  readonly replacement: Buffer | null;
}

/**
 * Sees each event once, in order, without the blank line that ends it. Returns true to have it taken out, or a cut to have a part of
 * it replaced; both only in filter mode.
 */
export type ReadEvent = (bytes: Buffer, start: number, end: number) => boolean | EventCut;

/** Sees the first and the last bytes of an event that is too long to be read, joined by a line end. */
export type ReadLargeEvent = (ends: Buffer) => void;

/** `observe` never takes anything out and passes each chunk on as it is; `filter` holds an unfinished event back until it is decided. */
export type ScanMode = 'observe' | 'filter';

/**
 * Line ends are LF, CRLF or CR (HTML standard, "Parsing an event stream"); an event ends at an empty line. One result for every way
 * to cut a stream into chunks. O(n) over the stream: unfinished events are kept as the chunks they came in and joined once.
 */
export class SseScanner {
  readonly #readEvent: ReadEvent;
  readonly #readLarge: ReadLargeEvent;
  readonly #filters: boolean;
  /** Bytes of the unfinished event from earlier chunks; in filter mode they were not passed on yet. */
  #parts: Buffer[] = [];
  #partsLength = 0;
  /** The event just read, where it came in several chunks. */
  #joined: Buffer | undefined;
  /** The unfinished event outgrew MAX_EVENT_BYTES: its bytes are passed on, and its two ends kept. */
  #oversize = false;
  #head: Buffer | undefined;
  #tail: Buffer[] = [];
  #tailLength = 0;
  #lineEmpty = true;
  /** The last byte was a CR, so a LF now belongs to it. */
  #afterCr = false;
  /** The event before that CR was taken out, and a LF must follow it. */
  #swallowLf = false;
  #isEnded = false;
  #rest: Buffer | null = null;
  #isTorn = false;
  #endedInEvent = false;

  constructor(readEvent: ReadEvent, mode: ScanMode, readLarge: ReadLargeEvent = () => {}) {
    this.#readEvent = readEvent;
    this.#readLarge = readLarge;
    this.#filters = mode === 'filter';
  }

  /** Whether the bytes passed on so far end between two events; what `end` returns is not among them. */
  get atBoundary(): boolean {
    if (this.#oversize || this.#endedInEvent) return false;
    return this.#filters || (this.#partsLength === 0 && this.#lineEmpty);
  }

  /** Whether the next byte is an event's first, and what is scanned next depends on nothing before it. */
  get isAtRest(): boolean {
    return this.#partsLength === 0 && this.#lineEmpty && !this.#afterCr && !this.#oversize && !this.#isEnded;
  }

  /** Whether the stream ended in the middle of an event; known after `end`. */
  get isTorn(): boolean {
    return this.#isTorn;
  }

  /** Takes the next chunk; returns the bytes to pass on now, null for none. In observe mode that is always the chunk itself. */
  scan(chunk: Buffer): Buffer | null {
    if (chunk.length === 0) return null;
    const output: Buffer[] = [];
    let eventStart = 0;
    let keptFrom = 0;
    let lineStart = 0;
    if (this.#afterCr) {
      this.#afterCr = false;
      if (chunk[0] === LF) {
        lineStart = 1;
        if (this.#partsLength === 0 && !this.#oversize) eventStart = 1;
        if (this.#swallowLf) keptFrom = 1;
      }
    }
    this.#swallowLf = false;
    let lf = chunk.indexOf(LF, lineStart);
    let cr = chunk.indexOf(CR, lineStart);
    while (lf !== -1 || cr !== -1) {
      const endsWithCr = cr !== -1 && (lf === -1 || cr < lf);
      const at = endsWithCr ? cr : lf;
      const next = endsWithCr && chunk[at + 1] === LF ? at + 2 : at + 1;
      if (endsWithCr && next === chunk.length && chunk[at + 1] !== LF) this.#afterCr = true;
      if (at === lineStart && this.#lineEmpty) {
        const verdict = this.#endEvent(chunk, eventStart, at);
        if (verdict === true) {
          if (eventStart > keptFrom) output.push(chunk.subarray(keptFrom, eventStart));
          keptFrom = next;
          this.#swallowLf = this.#afterCr;
        } else if (verdict !== false) {
          keptFrom = this.#cutOut(chunk, verdict, { output, keptFrom, eventEnd: at });
        } else if (this.#filters) {
          this.#release(output);
        }
        this.#forget();
        eventStart = next;
      }
      this.#lineEmpty = true;
      lineStart = next;
      if (lf !== -1 && lf < next) lf = chunk.indexOf(LF, next);
      if (cr !== -1 && cr < next) cr = chunk.indexOf(CR, next);
    }
    if (lineStart < chunk.length) this.#lineEmpty = false;
    // Nearly always: whole events, and nothing to take out of them.
    if (eventStart === chunk.length && keptFrom === 0 && output.length === 0) return chunk;
    return this.#passOn(chunk, { output, keptFrom, eventStart });
  }

  /**
   * The stream ended cleanly. An event that lacks only its blank line, which `isWhole` says of its bytes, is read like the others; any other
   * unfinished one makes the stream torn. Returns what was held back, at every call the same; null for nothing.
   */
  end(isWhole: (bytes: Buffer) => boolean = () => false): Buffer | null {
    if (this.#isEnded) return this.#rest;
    this.#isEnded = true;
    if (this.#oversize) {
      this.#endedInEvent = true;
      const ends = this.#joinEnds(Buffer.alloc(0));
      this.#isTorn = !isClosed(ends);
      if (!this.#isTorn) this.#readLarge(ends);
    } else if (this.#partsLength > 0) {
      this.#endedInEvent = !this.#filters;
      const bytes = Buffer.concat(this.#parts, this.#partsLength);
      this.#isTorn = !isWhole(bytes);
      const verdict = this.#isTorn ? false : this.#judge(bytes, 0, bytes.length);
      if (this.#filters) this.#rest = applyVerdict(bytes, verdict);
    }
    this.#forget();
    return this.#rest;
  }

  /** Reads a whole event of which `chunk[start, end)` is the last part; returns what the reader says, false without filter. */
  #endEvent(chunk: Buffer, start: number, end: number): boolean | EventCut {
    const length = this.#partsLength + end - start;
    if (length === 0 && !this.#oversize) return false;
    if (this.#oversize || length > MAX_EVENT_BYTES) {
      this.#readLarge(this.#joinEnds(chunk.subarray(start, end)));
      return false;
    }
    if (this.#partsLength === 0) return this.#judge(chunk, start, end);
    const whole = Buffer.concat([...this.#parts, chunk.subarray(start, end)], length);
    this.#joined = whole;
    return this.#judge(whole, 0, length);
  }

  #judge(bytes: Buffer, start: number, end: number): boolean | EventCut {
    const verdict = this.#readEvent(bytes, start, end);
    return this.#filters ? verdict : false;
  }

  /** Passes an event on without its cut; returns from where on the chunk's bytes are still to be passed on. */
  #cutOut(
    chunk: Buffer,
    cut: EventCut,
    state: { readonly output: Buffer[]; readonly keptFrom: number; readonly eventEnd: number },
  ): number {
    const { output, keptFrom, eventEnd } = state;
    const joined = this.#joined;
    output.push(joined === undefined ? chunk.subarray(keptFrom, cut.start) : joined.subarray(0, cut.start));
    if (cut.replacement !== null) output.push(cut.replacement);
    if (joined === undefined) return cut.end;
    output.push(joined.subarray(cut.end));
    return eventEnd;
  }

  /** Keeps the unfinished tail of a chunk and says which of its bytes go out. */
  #passOn(
    chunk: Buffer,
    state: { readonly output: Buffer[]; readonly keptFrom: number; readonly eventStart: number },
  ): Buffer | null {
    const { output, keptFrom, eventStart } = state;
    if (eventStart < chunk.length) {
      const piece = eventStart === 0 ? chunk : chunk.subarray(eventStart);
      if (this.#oversize) {
        this.#keepTail(piece);
      } else {
        this.#parts.push(piece);
        this.#partsLength += piece.length;
      }
    }
    if (!this.#filters) {
      if (this.#partsLength > MAX_EVENT_BYTES) this.#outgrow();
      return chunk;
    }
    const keptTo = this.#oversize ? chunk.length : eventStart;
    if (keptTo > keptFrom)
      output.push(keptFrom === 0 && keptTo === chunk.length ? chunk : chunk.subarray(keptFrom, keptTo));
    if (this.#partsLength > MAX_EVENT_BYTES) {
      this.#release(output);
      this.#outgrow();
    }
    return join(output);
  }

  #release(output: Buffer[]): void {
    for (const part of this.#parts) output.push(part);
  }

  #outgrow(): void {
    const parts = this.#parts;
    this.#forget();
    this.#oversize = true;
    this.#head = Buffer.from(Buffer.concat(parts).subarray(0, HEAD_BYTES));
    for (const part of parts) this.#keepTail(part);
  }

  #keepTail(piece: Buffer): void {
    this.#tail.push(piece);
    this.#tailLength += piece.length;
    while (this.#tailLength - (this.#tail[0]?.length ?? 0) >= TAIL_BYTES) {
      this.#tailLength -= this.#tail.shift()?.length ?? 0;
    }
  }

  /** Both ends of an event too long to be kept, `last` being its last piece. */
  #joinEnds(last: Buffer): Buffer {
    const whole = this.#oversize ? [...this.#tail, last] : [...this.#parts, last];
    const joined = Buffer.concat(whole);
    const head = this.#head ?? joined.subarray(0, HEAD_BYTES);
    return Buffer.concat([head, LINE_END, joined.subarray(-TAIL_BYTES)]);
  }

  #forget(): void {
    if (this.#partsLength > 0) this.#parts = [];
    this.#partsLength = 0;
    this.#joined = undefined;
    if (!this.#oversize) return;
    this.#oversize = false;
    this.#head = undefined;
    this.#tail = [];
    this.#tailLength = 0;
  }
}

/** What is left of an event by the reader's verdict. */
function applyVerdict(bytes: Buffer, verdict: boolean | EventCut): Buffer | null {
  if (typeof verdict === 'boolean') return verdict ? null : bytes;
  const { start, end, replacement } = verdict;
  return join([bytes.subarray(0, start), ...(replacement === null ? [] : [replacement]), bytes.subarray(end)]);
}

/** Whether a long event ends like a JSON document. */
function isClosed(ends: Buffer): boolean {
  return /\}\s*$/.test(ends.toString('latin1', Math.max(0, ends.length - 16)));
}

function join(pieces: readonly Buffer[]): Buffer | null {
  if (pieces.length === 0) return null;
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
}
