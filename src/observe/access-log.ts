// One log line per finished request: ids, counts and times. No prompt, no answer, no key, no user, no tags.
import type { Log } from '#domain/log.ts';
import type { RecordListener } from '#domain/metering.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { totalTokens } from '#domain/tokens.ts';

/** Writes each record as one `info` line `request`. */
export function createAccessLog(log: Log): RecordListener {
  return { recordFinished: (record) => log.info(toFields(record), 'request') };
}

function toFields(record: UsageRecord): Readonly<Record<string, unknown>> {
  return {
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
    inputTokens: record.tokens.input,
    cachedInputTokens: record.tokens.cachedInput,
    outputTokens: record.tokens.output,
    reasoningTokens: record.tokens.reasoning,
    totalTokens: totalTokens(record.tokens),
    tokenSource: record.tokenSource,
  };
}

function roundToTenth(value: number): number {
  return Math.round(value * 10) / 10;
}
