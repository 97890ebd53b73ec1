// One line per finished request: ids, counts and times. No prompt, no answer, no key, no user, no tags.
// Hot path: one object and one JSON.stringify, for a general logger took ten times the time. Where lines go: logging.ts.
import type { RecordListener } from '#domain/metering.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { totalTokens } from '#domain/tokens.ts';

/** Takes one line of JSON, without its newline. */
export interface LineSink {
  write(json: string): void;
}

/** Writes each record as one line of the shape that every other log line has, `level` info and `msg` request. */
export function createAccessLog(sink: LineSink): RecordListener {
  return { recordFinished: (record) => sink.write(renderLine(record)) };
}

function renderLine(record: UsageRecord): string {
  const { tokens } = record;
  return JSON.stringify({
    level: 'info',
    time: new Date(record.endedAtMs).toISOString(),
    requestId: record.requestId,
    clientRequestId: record.clientRequestId,
    attempt: record.attempt,
    team: record.team,
    project: record.project,
    keyId: record.keyId,
    // The name as the client sent it is free text and stays out: a prompt may stand there by mistake.
    model: record.model,
    deployment: record.deployment,
    upstream: record.upstream,
    route: record.route,
    stream: record.stream,
    status: record.status,
    outcome: record.outcome,
    durationMs: roundToTenth(record.durationMs),
    timeToFirstTokenMs: record.timeToFirstTokenMs === null ? null : roundToTenth(record.timeToFirstTokenMs),
    inputTokens: tokens.input,
    cachedInputTokens: tokens.cachedInput,
    outputTokens: tokens.output,
    reasoningTokens: tokens.reasoning,
    totalTokens: totalTokens(tokens),
    tokenSource: record.tokenSource,
    msg: 'request',
  });
}

function roundToTenth(value: number): number {
  return Math.round(value * 10) / 10;
}
