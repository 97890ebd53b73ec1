// The name of money that belongs to nobody, and its row in the books. Not here: when money becomes such (claim.ts, relabel-claim.ts, write-off.ts).
import type { CellKey } from './settlement.ts';

/** Team, and record id of a charge line, of money that nobody can claim or that was written off. No team of a config can have this name. */
export const UNATTRIBUTED = '(unattributed)';

/** The one row of that team. */
export const UNATTRIBUTED_ROW: Omit<CellKey, 'hour'> = {
  team: UNATTRIBUTED,
  project: '',
  keyId: '',
  model: '',
  deployment: '',
};
