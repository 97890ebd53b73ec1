// Keys written in the config: only their SHA-256 stays in memory, and who they stand for. Virtual keys live in the store, not here.
import { hash, timingSafeEqual } from 'node:crypto';
import type { TeamConfig } from '#config/config.ts';
import type { Caller } from '#domain/caller.ts';

interface Entry {
  readonly digest: Buffer;
  readonly caller: Caller;
}

/** Answers whose key a presented one is; undefined for a key nobody has. */
export type KeyLookup = (presented: string) => Caller | undefined;

/**
 * Builds the lookup over all teams' static keys. The map is keyed by the digest, so its timing tells nothing of the key itself;
 * the found digest is compared in constant time all the same.
 */
export function createKeyLookup(teams: readonly TeamConfig[]): KeyLookup {
  const entries = new Map<string, Entry>();
  for (const team of teams) {
    for (const { key, project, scopes = [] } of team.keys) {
      const digest = hash('sha256', key, 'buffer');
      const caller: Caller = {
        ...createTeamCaller(team),
        project: project === '' ? null : project,
        keyId: renderKeyId(key),
        scopes,
      };
      entries.set(digest.toString('latin1'), { digest, caller });
    }
  }
  return (presented) => {
    const digest = hash('sha256', presented, 'buffer');
    const entry = entries.get(digest.toString('latin1'));
    return entry !== undefined && timingSafeEqual(digest, entry.digest) ? entry.caller : undefined;
  };
}

/** What a request of this team may do when no key narrows it: header mode and anonymous requests. */
export function createTeamCaller(team: TeamConfig): Caller {
  return {
    team: team.name,
    project: null,
    keyId: null,
    models: team.models.includes('*') ? null : team.models,
    scopes: [],
    limited: team.budget !== undefined || team.limits !== undefined,
  };
}

/** Public id of a static key: `k_` and 64 bits of a hash with its own prefix, so that it is no part of the digest kept for lookup. */
export function renderKeyId(key: string): string {
  return `k_${hash('sha256', `inferometer key id\n${key}`, 'hex').slice(0, 16)}`;
}
