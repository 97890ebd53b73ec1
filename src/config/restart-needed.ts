// Which changes a running gateway cannot take over. Noticing changes is watch-config.ts's.
import { isDeepStrictEqual } from 'node:util';
import type { Config } from './config.ts';

/** Sections bound to sockets, connections, files or protocol state that are made once, at start. */
const FIXED_SECTIONS = ['admin', 'store', 'journal', 'settlement', 'retention', 'logging', 'grpc'] as const;
const FIXED_SERVER_KEYS = ['host', 'port', 'tls', 'workers'] as const;

/** Keys with different values in `next` that take effect at the next start only, such as `server.port`, `store`. */
export function restartNeeded(old: Config, next: Config): readonly string[] {
  const server = FIXED_SERVER_KEYS.filter((key) => !isDeepStrictEqual(old.server[key], next.server[key]));
  const sections = FIXED_SECTIONS.filter((key) => !isDeepStrictEqual(old[key], next[key]));
  return [...server.map((key) => `server.${key}`), ...sections];
}

/** `next` with the running values of all those keys, so that nobody reads a value that is not in force. */
export function keepUntilRestart(old: Config, next: Config): Config {
  const { grpc: _grpc, ...rest } = next;
  const { tls: _tls, ...server } = next.server;
  const { host, port, tls, workers } = old.server;
  return Object.freeze({
    ...rest,
    server: Object.freeze({ ...server, host, port, workers, ...(tls === undefined ? {} : { tls }) }),
    admin: old.admin,
    store: old.store,
    journal: old.journal,
    settlement: old.settlement,
    retention: old.retention,
    logging: old.logging,
    ...(old.grpc === undefined ? {} : { grpc: old.grpc }),
  });
}
