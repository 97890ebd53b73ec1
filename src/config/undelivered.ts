// Keys that the schema accepts and this version does not act upon. Delivering one means deleting its line.
import type { Config, TeamConfig } from './config.ts';
import type { ConfigPath, ProblemList } from './problem.ts';

/** `key` as users know it; `find` gives the places where it is set to something other than its default. */
interface UndeliveredKey {
  readonly key: string;
  readonly effect: string;
  readonly find: (config: Config) => readonly ConfigPath[];
}

const where = (used: boolean, ...path: ConfigPath): readonly ConfigPath[] => (used ? [path] : []);

const inTeams =
  (key: string, isUsed: (team: TeamConfig) => boolean) =>
  (config: Config): readonly ConfigPath[] =>
    config.teams.flatMap((team, index) => where(isUsed(team), 'teams', index, key));

const UNDELIVERED: readonly UndeliveredKey[] = [
  {
    key: 'tenancy.authentication: jwt',
    effect: 'tokens of an issuer identify nobody',
    find: (config) => where(config.tenancy.authentication.includes('jwt'), 'tenancy', 'authentication'),
  },
  {
    key: 'teams[].budget',
    effect: 'spending is not limited',
    find: inTeams('budget', (team) => team.budget !== undefined),
  },
  {
    key: 'teams[].limits',
    effect: 'rates are not limited',
    find: inTeams('limits', (team) => team.limits !== undefined),
  },
  {
    key: 'teams[].reservedGpus',
    effect: 'idle cost is not shared by reservation',
    find: inTeams('reservedGpus', (team) => Object.keys(team.reservedGpuMillionths).length > 0),
  },
];

/** One warning for each such key in use, at the first place that uses it. */
export function warnUndelivered(config: Config, findings: ProblemList): void {
  for (const { key, effect, find } of UNDELIVERED) {
    const [first, ...others] = find(config);
    if (first === undefined) continue;
    const count = others.length === 0 ? '' : ` (set in ${others.length + 1} places)`;
    findings.warn(first, `${key} is not part of this version yet${count}: ${effect}`);
  }
}
