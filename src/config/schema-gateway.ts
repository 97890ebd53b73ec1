// YAML side of the sections about the process itself: planes, store, journal, times, logging, finance names.
// Deployments and prices: schema-deployments.ts; who may call: schema-teams.ts.
import { z } from 'zod';
import { duration, flag, integer, oneOf, secret, text } from './schema-leaf.ts';
import { list, section, sectionWithDefaults } from './schema-section.ts';

const SECOND_MS = 1000;
const DAY_MS = 86_400_000;
/** Node's timers hold 31 bits of milliseconds; 24 days stay below. */
export const TIMER_MAX_MS = 24 * DAY_MS;

const host = () => text({ pattern: /^[^\s/]{1,255}$/, expected: 'a host name or an IP address' });
const port = () => integer(0, 65_535);
/** Visible ASCII, as it must fit into an Authorization header. */
const token = () => secret({ pattern: /^[\x21-\x7e]*$/, expected: 'a token without spaces or control characters' });

/** `cert` and `key`: PEM text, or the path of a PEM file. */
const serverTls = section({ cert: secret().default(''), key: secret().default('') });

/** A header name, or `*`. */
const TOKEN = /^(?:\*|[\w!#$%&'*+.^`|~-]{1,128})$/;

const cors = section({
  origins: list(
    text({
      pattern: /^(?:\*|null|[a-z][a-z0-9+.-]*:\/\/[^\s/?#]{1,255})$/,
      expected: '* or an origin such as https://app.example',
    }),
    1,
  ),
  headers: list(text({ pattern: TOKEN, expected: '* or the name of a header' })).default(['*']),
  maxAge: duration({ minMs: 0, maxMs: DAY_MS }).default(600 * SECOND_MS),
});

export const serverSchema = sectionWithDefaults({
  host: host().default('0.0.0.0'),
  port: port().default(8080),
  tls: serverTls.optional(),
  maxBodyBytes: integer(1, 2 ** 31 - 1).default(67_108_864),
  requestTimeout: duration({ minMs: 1, maxMs: TIMER_MAX_MS }).default(600 * SECOND_MS),
  drainDelay: duration({ minMs: 0, maxMs: TIMER_MAX_MS }).default(5 * SECOND_MS),
  drainTimeout: duration({ minMs: 0, maxMs: TIMER_MAX_MS }).default(600 * SECOND_MS),
  workers: integer(1, 1024).default(1),
  exposeUpstream: flag().default(true),
  cors: cors.optional(),
});

export const grpcSchema = section({
  host: host().default('0.0.0.0'),
  port: port(),
  maxMessageBytes: integer(1024, 2 ** 31 - 1).default(67_108_864),
}).optional();

export const adminSchema = sectionWithDefaults({
  host: host().default('127.0.0.1'),
  port: port().default(8081),
  token: token().default(''),
  requireToken: flag().default(true),
  metricsToken: token().default(''),
});

/** Of a connection that the gateway makes. `ca`, `cert` and `key`: PEM text, or the path of a PEM file. */
export const clientTls = section({
  ca: secret().default(''),
  cert: secret().default(''),
  key: secret().default(''),
  serverName: text().default(''),
});

const STORE_URL = /^(?:sqlite:.+|rediss?(?:\+(?:cluster|sentinel))?:\/\/.+)$/;

export const storeSchema = sectionWithDefaults({
  url: secret({
    pattern: STORE_URL,
    expected:
      'sqlite:PATH, redis[s]://host:port/db, redis[s]+cluster://h1:p,h2:p or redis[s]+sentinel://h1:p/master/db',
  }).default('sqlite:data/inferometer.db'),
  prefix: text({ pattern: /^[\w.:-]{1,64}$/, expected: '1 to 64 letters, digits or . _ : -' }).default('inferometer'),
  timeout: duration({ minMs: 1, maxMs: 60 * SECOND_MS }).default(50),
  tls: clientTls.optional(),
  onStoreDown: oneOf(['admit', 'block']).default('admit'),
});

/** In YAML `true`, `false` or the word `strict`. */
const FSYNC_MODES = { true: 'grouped', strict: 'strict', false: 'off' } as const;
const fsync = z
  .preprocess((raw) => (typeof raw === 'boolean' ? String(raw) : raw), oneOf(['true', 'strict', 'false']))
  .transform((word) => FSYNC_MODES[word]);

export const journalSchema = sectionWithDefaults({
  dir: text({ pattern: /\S/, expected: 'a folder' }).default('data/journal'),
  fsync: fsync.default('grouped'),
  retention: duration({ minMs: 0, maxMs: 366 * DAY_MS }).default(3 * DAY_MS),
  maxBytes: integer(64 * 1024 * 1024, Number.MAX_SAFE_INTEGER).default(16 * 1024 ** 3),
});

export const settlementSchema = sectionWithDefaults({
  horizon: duration({ minMs: 100, maxMs: 3_600_000 }).default(30 * SECOND_MS),
  silence: duration({ minMs: SECOND_MS, maxMs: 7 * DAY_MS }).default(15 * 60 * SECOND_MS),
});

export const retentionSchema = sectionWithDefaults({
  records: duration({ minMs: DAY_MS, maxMs: 3660 * DAY_MS }).default(35 * DAY_MS),
  rollups: duration({ minMs: DAY_MS, maxMs: 36_600 * DAY_MS }).default(400 * DAY_MS),
  archive: text().default('data/archive'),
});

export const loggingSchema = sectionWithDefaults({
  level: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  format: oneOf(['json', 'pretty']).default('json'),
  access: flag().default(true),
});

export const privacySchema = sectionWithDefaults({ user: oneOf(['keep', 'hash', 'drop']).default('keep') });

export const financeSchema = sectionWithDefaults({
  billingAccountId: text().default(''),
  billingAccountName: text().default(''),
  invoiceIssuer: text().default(''),
  providerName: text().default(''),
  plannedLoad: section({
    concurrency: integer(1, 100_000).default(32),
    contextTokens: integer(0, 10_000_000).default(2000),
  }).optional(),
});

export const watchSchema = flag().default(false);
