// Lives here: the faults a test may ask of the simulator, and how they are written in options and in `x-simulate`.
// Not here: how an answer is spoiled (answer-stream.ts, answer-whole.ts).

/** Faults of one answer; absent means healthy. */
export interface FaultSwitches {
  /** Answer with this HTTP status and the flavour's error body. */
  readonly status?: number;
  /** Destroy the socket after this many tokens. */
  readonly cutAfter?: number;
  /** Leave out the terminator of the stream; where a protocol closes with events, those. */
  readonly noDone?: true;
  /** Leave out usage. */
  readonly noUsage?: true;
  /** Say nothing more after this many tokens, and never end. */
  readonly stallAfter?: number;
  /** Answer 200 with bytes that are no JSON and no UTF-8. */
  readonly garbage?: true;
  /** Answer 200 with an error in the body. */
  readonly error200?: true;
  /** Send half of the first token's event (or of the whole body) and end. */
  readonly halfChunk?: true;
  /** Send an error event after this many tokens, then the terminator. */
  readonly errorEventAfter?: number;
  /** Wait this many ms before anything is sent. */
  readonly delayHeadersMs?: number;
  /** Report zeros as usage. */
  readonly usageZero?: true;
  /** Length of the answer, whatever the request says. */
  readonly tokens?: number;
}

/** A fault that is not known, or a number that is none. */
export class UnknownFaultError extends Error {
  constructor(text: string) {
    super(
      `unknown fault "${text}"; known: status=N, cut-after=N, no-done, no-usage, stall-after=N, garbage, error-200, ` +
        `half-chunk, error-event-after=N, delay-headers=MS, usage-zero, tokens=N`,
    );
    this.name = 'UnknownFaultError';
  }
}

const numbered: ReadonlyMap<string, keyof FaultSwitches> = new Map([
  ['status', 'status'],
  ['cut-after', 'cutAfter'],
  ['stall-after', 'stallAfter'],
  ['error-event-after', 'errorEventAfter'],
  ['delay-headers', 'delayHeadersMs'],
  ['tokens', 'tokens'],
]);
const plain: ReadonlyMap<string, keyof FaultSwitches> = new Map([
  ['no-done', 'noDone'],
  ['no-usage', 'noUsage'],
  ['garbage', 'garbage'],
  ['error-200', 'error200'],
  ['half-chunk', 'halfChunk'],
  ['usage-zero', 'usageZero'],
]);

/** Reads a comma-separated list such as `no-usage, cut-after=3`; throws UnknownFaultError. */
export function parseFaultSwitches(text: string): FaultSwitches {
  const faults: Record<string, number | true> = {};
  for (const part of text.split(',').map((piece) => piece.trim())) {
    if (part === '') continue;
    const [name = '', value] = part.split('=', 2);
    const flag = plain.get(name);
    const number = numbered.get(name);
    if (flag !== undefined && value === undefined) faults[flag] = true;
    else if (number !== undefined && value !== undefined && /^\d{1,9}$/.test(value)) faults[number] = Number(value);
    else throw new UnknownFaultError(part);
  }
  return faults;
}
