// The Log port on pino: JSON lines or readable ones, with secrets blanked out. What is logged is decided where it happens.
import type { Log, LogFields } from '#domain/log.ts';
import type { LoggingConfig } from '#config/config.ts';
import { pino } from 'pino';
import type { DestinationStream } from 'pino';
import { PinoPretty } from 'pino-pretty';

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
  const color = destination === undefined && process.stdout.isTTY;
  const stream = config.format === 'pretty' ? toPretty(out, color) : out;
  const logger = pino(
    {
      level: config.level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACTED_PATHS, censor: '[redacted]' },
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
  const format = PinoPretty.prettyFactory({ colorize: color });
  return { write: (line) => out.write(format(line)) };
}
