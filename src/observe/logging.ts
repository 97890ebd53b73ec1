// The Log port on pino: JSON lines or readable ones, with secrets blanked out. What is logged is decided where it happens.
import { createRequire } from 'node:module';
import type { Log, LogFields } from '#domain/log.ts';
import type { LoggingConfig } from '#config/config.ts';
import { pino } from 'pino';
import type { DestinationStream } from 'pino';
import type { prettyFactory } from 'pino-pretty';
import type { LineSink } from './access-log.ts';
import { BatchedLines } from './batched-lines.ts';

/** Fields that would hold a secret if somebody logged an object whole; callers must not, this is the second lock. */
const SECRET_KEYS = ['authorization', 'apiKey', 'key', 'token', 'metricsToken', 'password', 'secret', 'cookie', 'url'];

/** Header spellings that need brackets in a path. */
const SECRET_HEADERS = ['["x-api-key"]', '["proxy-authorization"]'];

const REDACTED_PATHS = [
  ...SECRET_KEYS.flatMap((key) => (key === 'url' ? [] : [key, `*.${key}`, `*.*.${key}`])),
  ...SECRET_HEADERS.flatMap((key) => [key, `*${key}`, `*.*${key}`]),
  'store.url',
  'config.store.url',
];

/**
 * A Log at the configured level. `destination` replaces standard output; lines are written synchronously, so that what a process said
 * before it died is there.
 */
export function createLogging(config: Pick<LoggingConfig, 'level' | 'format'>, destination?: DestinationStream): Log {
  const out = destination ?? pino.destination({ dest: 1, sync: true });
  return createLog(config, { out, redact: { paths: REDACTED_PATHS, censor: '[redacted]' } });
}

/** What pino calls info. */
const INFO = 30;

/**
 * Where the lines of the access log go: written in batches, or nowhere at a level above info. `dest` is a file descriptor or path.
 */
export function openAccessSink(
  { level, format }: Pick<LoggingConfig, 'level' | 'format'>,
  dest: number | string = 1,
): LineSink {
  // `silent` is no level of pino's.
  if ((pino.levels.values[level] ?? Number.POSITIVE_INFINITY) > INFO) return { write() {} };
  if (format === 'json') return new BatchedLines(dest);
  const pretty = toPretty(pino.destination({ dest, sync: true }), process.stdout.isTTY);
  return { write: (json) => pretty.write(json) };
}

function createLog(
  { level, format }: Pick<LoggingConfig, 'level' | 'format'>,
  { out, redact }: { readonly out: DestinationStream; readonly redact: { paths: string[]; censor: string } },
): Log {
  const stream = format === 'pretty' ? toPretty(out, process.stdout.isTTY) : out;
  const logger = pino(
    {
      level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact,
    },
    stream,
  );
  return {
    debug: (fields: LogFields, message: string) => logger.debug(fields, message),
    info: (fields: LogFields, message: string) => logger.info(fields, message),
    warn: (fields: LogFields, message: string) => logger.warn(fields, message),
    error: (fields: LogFields, message: string) => logger.error(fields, message),
  };
}

/** Formats line by line on the way out: no stream in between that could hold lines back at a crash. */
function toPretty(out: DestinationStream, color: boolean): DestinationStream {
  // Loaded only for this format, and at once: a log that had to be waited for would lose what a start says.
  const pretty: { readonly prettyFactory: typeof prettyFactory } = createRequire(import.meta.url)('pino-pretty');
  const format = pretty.prettyFactory({ colorize: color });
  return { write: (line) => out.write(format(line)) };
}
