// Follows a server-sent event stream chunk by chunk: finds whole events whatever the chunks, and can take single events out of the
// bytes. What an event means is the reader's concern; bytes that stay are never changed.

const LF = 0x0a;
const CR = 0x0d;

/** Events longer than this are passed on unread; bounds what is kept of an unfinished event. */
export const MAX_EVENT_BYTES = 256 * 1024;

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

/** `observe` never takes anything out and passes each chunk on as it is; `filter` holds an unfinished event back until it is decided. */
export type ScanMode = 'observe' | 'filter';

/**
 * Line ends are LF, CRLF or CR (HTML standard, "Parsing an event stream"); an event ends at an empty line. One result for every way
 * to cut a stream into chunks. O(n) over the stream: unfinished events are kept as the chunks they came in and joined once.
 */
export class SseScanner {
  readonly #readEvent: ReadEvent;
  readonly #filters: boolean;
  /** Bytes of the unfinished event from earlier chunks; in filter mode they were not passed on yet. */
  #parts: Buffer[] = [];
  #partsLength = 0;
  /** The event just read, where it came in several chunks. */
  #joined: Buffer | undefined;
  /** The unfinished event outgrew MAX_EVENT_BYTES: its bytes are passed on and forgotten. */
  #oversize = false;
  #lineEmpty = true;
  /** The last byte was a CR, so a LF now belongs to it. */
  #afterCr = false;
  /** The event before that CR was taken out, and a LF must follow it. */
  #swallowLf = false;
  #oversizeEvents = 0;

  constructor(readEvent: ReadEvent, mode: ScanMode) {
    this.#readEvent = readEvent;
    this.#filters = mode === 'filter';
  }

  /** Events passed on unread because they were longer than MAX_EVENT_BYTES. */
  get oversizeEvents(): number {
    return this.#oversizeEvents;
  }

  /** Whether the bytes so far end between two events. */
  get atBoundary(): boolean {
    return this.#partsLength === 0 && this.#lineEmpty && !this.#oversize;
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
        const verdict = this.#endEvent(chunk, { start: eventStart, end: at });
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
    return this.#passOn(chunk, { output, keptFrom, eventStart });
  }

  /** The stream ended cleanly: returns what was held back of an event that never ended, null for nothing. */
  end(): Buffer | null {
    const output: Buffer[] = [];
    if (this.#filters) this.#release(output);
    this.#forget();
    return join(output);
  }

  /** Reads a whole event of which `chunk[start, end)` is the last part; returns what the reader says, false without filter. */
  #endEvent(chunk: Buffer, range: { readonly start: number; readonly end: number }): boolean | EventCut {
    const { start, end } = range;
    const length = this.#partsLength + end - start;
    if (length === 0 && !this.#oversize) return false;
    if (this.#oversize || length > MAX_EVENT_BYTES) {
      this.#oversizeEvents += 1;
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
    if (eventStart < chunk.length && !this.#oversize) {
      this.#parts.push(eventStart === 0 ? chunk : chunk.subarray(eventStart));
      this.#partsLength += chunk.length - eventStart;
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
    this.#forget();
    this.#oversize = true;
  }

  #forget(): void {
    if (this.#partsLength > 0) this.#parts = [];
    this.#partsLength = 0;
    this.#joined = undefined;
    this.#oversize = false;
  }
}

function join(pieces: readonly Buffer[]): Buffer | null {
  if (pieces.length === 0) return null;
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
}
