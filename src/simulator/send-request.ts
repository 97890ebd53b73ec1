// Lives here: one request of the traffic generator: sent, read to its end or hung up on, written down.
// Not here: when it is sent (traffic.ts) and what it asks (traffic-profiles.ts).
import { request as undiciRequest } from 'undici';
import type { Dispatcher } from 'undici';
import { isJsonObject } from './inference-request.ts';
import type { PlannedRequest } from './traffic-profiles.ts';

/** Usage as the client saw it. */
export interface UsageSeen {
  readonly promptTokens: number;
  /** Null where the answer does not say. */
  readonly cachedTokens: number | null;
  readonly completionTokens: number;
}

/** What became of one request. */
export interface TrafficRecord {
  readonly team: string;
  readonly model: string;
  /** `x-inferometer-request-id` of the answer; null without one. */
  readonly requestId: string | null;
  readonly stream: boolean;
  /** HTTP status; null if no answer came. */
  readonly status: number | null;
  /** `aborted`: this client hung up; `failed`: a status other than 200, a broken connection, a stream without its end. */
  readonly outcome: 'completed' | 'failed' | 'aborted';
  readonly bytes: number;
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly usage: UsageSeen | null;
}

/** What to send where. */
export interface SendOptions {
  readonly baseUrl: string;
  readonly dispatcher: Dispatcher;
  readonly signal: AbortSignal;
  readonly team: {
    readonly team: string;
    readonly apiKey?: string;
    readonly model: string;
    readonly askUsage?: boolean;
  };
  readonly plan: PlannedRequest;
}

// The usage chunk stands at the end of a stream; this much of the end is kept to read it from.
const tailCharacters = 4096;
// A whole answer is kept up to this size to read its usage.
const bodyCharactersMax = 4 * 1024 * 1024;

/** Sends a chat request and reads the answer. Never rejects. */
export async function sendRequest(options: SendOptions): Promise<TrafficRecord> {
  const { team, plan } = options;
  const startedAtMs = Date.now();
  const startedAt = performance.now();
  const hangUp = new AbortController();
  const reading: Reading = { status: null, requestId: null, bytes: 0, text: '', chunks: 0 };
  let outcome: TrafficRecord['outcome'];
  try {
    await exchange(options, reading, hangUp);
    outcome = isComplete(plan, reading) ? 'completed' : 'failed';
  } catch {
    // undici says why; for the summary it matters only whose doing it was.
    outcome = hangUp.signal.aborted || options.signal.aborted ? 'aborted' : 'failed';
  }
  return {
    team: team.team,
    model: team.model,
    requestId: reading.requestId,
    stream: plan.stream,
    status: reading.status,
    outcome,
    bytes: reading.bytes,
    startedAtMs,
    durationMs: performance.now() - startedAt,
    usage: readUsage(plan.stream, reading.text),
  };
}

interface Reading {
  status: number | null;
  requestId: string | null;
  bytes: number;
  text: string;
  chunks: number;
}

async function exchange(options: SendOptions, reading: Reading, hangUp: AbortController): Promise<void> {
  const { team, plan } = options;
  const response = await undiciRequest(`${options.baseUrl}/v1/chat/completions`, {
    method: 'POST',
    dispatcher: options.dispatcher,
    signal: AbortSignal.any([options.signal, hangUp.signal]),
    headers: {
      'content-type': 'application/json',
      ...(team.apiKey === undefined ? {} : { authorization: `Bearer ${team.apiKey}` }),
    },
    body: JSON.stringify(describeBody(team, plan)),
  });
  reading.status = response.statusCode;
  const requestId = response.headers['x-inferometer-request-id'];
  reading.requestId = typeof requestId === 'string' ? requestId : null;
  const kept = plan.stream ? tailCharacters : bodyCharactersMax;
  const decoder = new TextDecoder();
  for await (const piece of response.body) {
    const bytes = piece as Buffer;
    reading.bytes += bytes.length;
    const text = decoder.decode(bytes, { stream: true });
    reading.chunks += text.split('\n\n').length - 1;
    reading.text = (reading.text + text).slice(-kept);
    if (reading.chunks > (plan.abortAfterChunks ?? Infinity)) hangUp.abort();
  }
}

function describeBody(team: SendOptions['team'], plan: PlannedRequest): Record<string, unknown> {
  const askUsage = plan.stream && team.askUsage !== false;
  return {
    model: team.model,
    messages: [
      ...(plan.systemPrompt === '' ? [] : [{ role: 'system', content: plan.systemPrompt }]),
      { role: 'user', content: plan.prompt },
    ],
    max_tokens: plan.outputTokens,
    // Simulated engines then write exactly that many; a real one that does not know the field would end earlier.
    ignore_eos: true,
    stream: plan.stream,
    ...(askUsage ? { stream_options: { include_usage: true } } : {}),
  };
}

function isComplete(plan: PlannedRequest, reading: Reading): boolean {
  if (reading.status !== 200) return false;
  // `transformers serve` ends its streams without [DONE]; there the finish reason says that all was said.
  return !plan.stream || /\[DONE\]|"finish_reason":"/.test(reading.text);
}

function readUsage(stream: boolean, text: string): UsageSeen | null {
  const events = stream ? text.split('\n').filter((line) => line.startsWith('data: {')) : [`data: ${text}`];
  for (const event of events.toReversed()) {
    const usage = parseUsage(event.slice('data: '.length));
    if (usage !== null) return usage;
  }
  return null;
}

function parseUsage(json: string): UsageSeen | null {
  let body: unknown;
  try {
    body = JSON.parse(json);
  } catch {
    // The first line of the tail may be cut off, and a broken answer is no JSON: neither says anything about usage.
    return null;
  }
  const usage = isJsonObject(body) ? body['usage'] : null;
  if (!isJsonObject(usage)) return null;
  const { prompt_tokens: promptTokens, completion_tokens: completionTokens, prompt_tokens_details: details } = usage;
  if (typeof promptTokens !== 'number' || typeof completionTokens !== 'number') return null;
  const cachedTokens = isJsonObject(details) ? details['cached_tokens'] : null;
  return { promptTokens, completionTokens, cachedTokens: typeof cachedTokens === 'number' ? cachedTokens : null };
}
