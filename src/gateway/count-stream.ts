// How many tokens a stream has brought where its engine does not say: from logprobs where they are in it, else from its events at the pace
// that earlier streams of the same engine had. Text by tokenizer is count-answer's.

/** Bytes of text per event above which events hold several tokens each: nobody streams tokens that long one by one. */
const LONG_EVENT_BYTES = 24;
/** Bytes of English text per token, the usual rule of thumb (upstreams.md §8.1, last resort). */
const BYTES_PER_TOKEN = 4;
/** Streams with fewer events say too little about their pace. */
const LEARNED_EVENTS_MIN = 8;
/** Weight of one finished stream in the moving mean. */
const LEARNING_RATE = 0.2;
/** More tokens per event than any engine sends: a broken count is not learned. */
const PACE_MAX = 1024;

const COMMA = 0x2c;
const CLOSE_BRACKET = 0x5d;

/** What is known of one stream; `add` takes each event with content once. */
export class StreamCount {
  #events = 0;
  #textBytes = 0;
  #exactEvents = 0;
  #exactTokens = 0;

  get events(): number {
    return this.#events;
  }

  /** `text` is the event as latin1; `textBytes` of it are content, 0 where that was not measured. Returns how many tokens it names. */
  add(text: string, textBytes: number): number {
    this.addUnnamed(1, textBytes);
    const tokens = countNamedTokens(text);
    if (tokens === 0) return 0;
    this.#exactEvents += 1;
    this.#exactTokens += tokens;
    return tokens;
  }

  /** Events that name no tokens. */
  addUnnamed(events: number, textBytes: number): void {
    this.#events += events;
    this.#textBytes += textBytes;
  }

  /**
   * Tokens so far, a whole number. Events with logprobs or token ids are counted by these, the others at their mean; without any at
   * `pace` tokens per event, null where none was learned yet: then one token each, or by their bytes where they are long.
   */
  tokens(pace: number | null): number {
    if (this.#exactEvents > 0) return Math.round((this.#exactTokens * this.#events) / this.#exactEvents);
    if (pace !== null) return Math.round(this.#events * pace);
    const isLong = this.#textBytes > this.#events * LONG_EVENT_BYTES;
    return isLong ? Math.round(this.#textBytes / BYTES_PER_TOKEN) : this.#events;
  }
}

/** Tokens per event by engine, learned from streams whose engine said their number. Forgotten with the engine. */
export class StreamPace {
  readonly #paces = new WeakMap<object, number>();

  /** Null where nothing was learned yet. */
  read(engine: object): number | null {
    return this.#paces.get(engine) ?? null;
  }

  /** Takes a complete stream: so many tokens in so many events with content. */
  learn(engine: object, tokens: number, events: number): void {
    if (events < LEARNED_EVENTS_MIN || tokens <= 0) return;
    const seen = Math.min(tokens / events, PACE_MAX);
    const known = this.#paces.get(engine);
    this.#paces.set(engine, known === undefined ? seen : known + LEARNING_RATE * (seen - known));
  }
}

/** Tokens that an event lists: chat's logprobs have one `top_logprobs` each, completions' are a list of numbers; 0 where none are listed. */
function countNamedTokens(text: string): number {
  if (text.includes('"logprobs":{')) {
    const listed = countElements(text, '"token_logprobs":[');
    return listed > 0 ? listed : countOccurrences(text, '"top_logprobs":');
  }
  return countElements(text, '"token_ids":[');
}

function countOccurrences(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length)) count += 1;
  return count;
}

/** Elements of a list of numbers that `opening` begins. */
function countElements(text: string, opening: string): number {
  const at = text.indexOf(opening);
  if (at === -1) return 0;
  let count = 0;
  let isEmpty = true;
  for (let next = at + opening.length; next < text.length; next += 1) {
    const code = text.charCodeAt(next);
    if (code === CLOSE_BRACKET) return isEmpty ? 0 : count + 1;
    if (code === COMMA) count += 1;
    else if (code > 0x20) isEmpty = false;
  }
  return 0;
}
