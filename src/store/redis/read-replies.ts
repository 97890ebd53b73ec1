// Turns what the scripts return into the domain's shapes. Amounts arrive as strings and stay digits.
import type { Member, ShareEntry, SyncReply, SyncStatus } from '#domain/settlement.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import type { WindowRange } from '../member-blind.ts';
import { SHARES_PER_REPLY } from '../store-options.ts';

const STRANGE = 'Redis answered something else than this program stored';

/** HGETALL's flat array by name. */
export function toFields(flat: unknown): Map<string, string> {
  const list = toStrings(flat);
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < list.length; i += 2) fields.set(list[i] ?? '', list[i + 1] ?? '');
  return fields;
}

/** What ioredis makes of the HGETALL of a pipeline: an object by field. */
export function toHash(reply: unknown): Map<string, string> {
  if (typeof reply !== 'object' || reply === null) throw new StoreUnavailableError(STRANGE);
  return new Map(Object.entries(reply).map(([field, value]) => [field, String(value)]));
}

/** A reply that must be a list. Throws StoreUnavailableError otherwise, which only another program's key can cause. */
export function toList(reply: unknown): readonly unknown[] {
  if (Array.isArray(reply)) return reply;
  throw new StoreUnavailableError(STRANGE);
}

export function toStrings(reply: unknown): string[] {
  return toList(reply).map(String);
}

/** The reply of `buildReply` in lua/fragments/members.lua. */
export function toSyncReply(reply: unknown): SyncReply {
  const list = toList(reply);
  const at = (index: number) => String(list[index]);
  const entries = toStrings(list[12]);
  const shares = entries.slice(0, SHARES_PER_REPLY).map(toShareEntry);
  const frontier = at(5) === '' ? null : Number(at(5));
  const [k, freezeHash] = [Number(at(6)), at(7)];
  const cutAt = entries.length > SHARES_PER_REPLY ? shares.at(-1) : undefined;
  return {
    status: at(0) as SyncStatus,
    epoch: at(1),
    nowMs: Number(at(2)),
    seq: Number(at(3)),
    hash: at(4),
    frontier,
    k,
    freezeHash,
    claimed: Number(at(8)),
    claimApplied: at(9) === '' ? null : at(9) === '1',
    lateCount: Number(at(10)),
    shares,
    sharesThrough:
      cutAt === undefined ? { k, to: frontier ?? 0, hash: freezeHash } : { k: cutAt.k, to: cutAt.to, hash: cutAt.hash },
    members: toStrings(list[11]).sort(),
  };
}

/** An entry of `pending`: the sum handed out so far, then the JSON. */
function toShareEntry(text: string): ShareEntry {
  return JSON.parse(text.slice(text.indexOf('|') + 1)) as ShareEntry;
}

/** Live members in order of their journal, out of the hashes `meta` and `journals`. */
export function toMembers(
  meta: ReadonlyMap<string, string>,
  journals: ReadonlyMap<string, string>,
  live: readonly string[],
): Member[] {
  const aliveMs = Number(meta.get('aliveMs') ?? 0);
  // For 30 s under a new master nobody counts as silent (settlement.md, advance).
  const isHeld = aliveMs < Number(meta.get('holdUntilMs') ?? 0);
  return live.toSorted().map((journal) => {
    const field = (name: string) => journals.get(`${journal}|${name}`) ?? '';
    return {
      journal,
      incarnation: Number(field('incarnation')),
      sealedThrough: Number(field('sealed')),
      silentSeconds: isHeld ? 0 : (aliveMs - Number(field('seen'))) / 1000,
      blind: JSON.parse(field('blind')) as readonly WindowRange[],
    };
  });
}
