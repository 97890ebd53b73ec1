// From the schema's output to the Config that the gateway runs on, all sections together. File and variables are
// load-config.ts's, each kind of entry has its own resolve-*.ts.
import { parseRedisUrl } from '#domain/redis-url.ts';
import { checkDeployments, checkPlanes, checkTeams, checkTenancy } from './check-config.ts';
import { checkPoolCost } from './check-pool-cost.ts';
import type { Config, DeploymentConfig, ServerConfig, StoreConfig, TeamConfig } from './config.ts';
import { deepFreeze } from './deep-freeze.ts';
import type { ProblemList } from './problem.ts';
import { resolveDeployment } from './resolve-deployments.ts';
import { resolvePrefill } from './resolve-prefill.ts';
import { resolvePrices } from './resolve-prices.ts';
import { resolveTeam, resolveTenancy } from './resolve-teams.ts';
import type { Entry, SchemaOutput } from './schema.ts';
import { checkStatistics } from './check-statistics.ts';
import { warnUndelivered } from './undelivered.ts';

type Sections = Pick<
  Config,
  'store' | 'journal' | 'settlement' | 'retention' | 'logging' | 'privacy' | 'finance' | 'watch'
>;

/**
 * Resolves and checks everything that could be read, so that one load reports all there is. Undefined when `findings`
 * has a problem; else the frozen configuration. `nowMs` (epoch milliseconds) decides which prices are in force.
 */
export function resolveConfig(input: SchemaOutput, findings: ProblemList, nowMs: number): Config | undefined {
  const prices = resolvePrices(input.prices, findings);
  const resolved = input.deployments.flatMap((entry): Entry<DeploymentConfig>[] => {
    const value = resolveDeployment(entry, { prices, nowMs, findings });
    return value === undefined ? [] : [{ index: entry.index, value }];
  });
  if (input.deployments.length === 0 && !findings.has(['deployments'])) {
    findings.add(['deployments'], 'expected at least one deployment');
  }
  const deployments = resolvePrefill(resolved, input.deployments, findings);
  checkDeployments(deployments, findings);
  checkPoolCost(deployments, prices, findings);
  checkStatistics(deployments, findings);
  const teams = input.teams.map((entry) => ({ index: entry.index, value: resolveTeam(entry, findings) }));
  checkTeams(
    teams,
    input.deployments.map(({ value }) => value),
    findings,
  );
  const tenancy = input.tenancy === undefined ? undefined : resolveTenancy(input.tenancy, findings);
  const teamConfigs = teams.map(({ value }) => value);
  if (tenancy !== undefined && !findings.has(['teams'])) checkTenancy(tenancy, teamConfigs, findings);
  const server = resolveServer(input, findings);
  if (server !== undefined && input.admin !== undefined) {
    checkPlanes({ server, admin: input.admin, grpc: input.grpc }, findings);
  }
  const sections = resolveSections(input, findings);
  if (findings.problems.length > 0) return undefined;
  if (server === undefined || tenancy === undefined || sections === undefined || input.admin === undefined)
    return undefined;
  const config = deepFreeze({
    server,
    ...(input.grpc === undefined ? {} : { grpc: input.grpc }),
    admin: input.admin,
    ...sections,
    prices,
    deployments: deployments.map(({ value }) => value),
    tenancy,
    teams: withAnonymousTeam(teamConfigs, tenancy.anonymous),
  });
  warnUndelivered(config, findings);
  return config;
}

function resolveServer({ server }: SchemaOutput, findings: ProblemList): ServerConfig | undefined {
  if (server === undefined) return undefined;
  const { tls, cors, requestTimeout, drainDelay, drainTimeout, ...same } = server;
  if (tls !== undefined && (tls.cert === '') !== (tls.key === '')) {
    findings.add(['server', 'tls'], 'cert and key are given together or not at all');
  }
  return {
    ...same,
    requestTimeoutMs: requestTimeout,
    drainDelayMs: drainDelay,
    drainTimeoutMs: drainTimeout,
    ...(tls === undefined || tls.cert === '' ? {} : { tls }),
    ...(cors === undefined ? {} : { cors: { origins: cors.origins, headers: cors.headers, maxAgeMs: cors.maxAge } }),
  };
}

/** Not the URL: it may hold a password. */
const UNSOUND_REDIS_URL =
  'no Redis URL that can be used: user and password are percent-encoded (@ is %40), the port is from 1 to 65535, behind the host comes a ' +
  'database number alone, with sentinels the name of their master before it, with a cluster nothing';

function resolveStore(store: NonNullable<SchemaOutput['store']>, findings: ProblemList): StoreConfig {
  const { timeout: timeoutMs, tls, ...same } = store;
  if (!store.url.startsWith('sqlite:') && parseRedisUrl(store.url) === null)
    findings.add(['store', 'url'], UNSOUND_REDIS_URL);
  if (tls === undefined || Object.values(tls).every((value) => value === '')) return { ...same, timeoutMs };
  if (!store.url.startsWith('rediss')) findings.add(['store', 'tls'], 'tls needs a URL that begins with rediss');
  if ((tls.cert === '') !== (tls.key === ''))
    findings.add(['store', 'tls'], 'cert and key are given together or not at all');
  return { ...same, timeoutMs, tls };
}

function resolveSections(input: SchemaOutput, findings: ProblemList): Sections | undefined {
  const { store, journal, settlement, retention, logging, privacy, finance, watch } = input;
  if (store === undefined || journal === undefined || settlement === undefined || retention === undefined)
    return undefined;
  if (logging === undefined || privacy === undefined || finance === undefined || watch === undefined) return undefined;
  return {
    store: resolveStore(store, findings),
    journal: { dir: journal.dir, fsync: journal.fsync, retentionMs: journal.retention, maxBytes: journal.maxBytes },
    settlement: { horizonMs: settlement.horizon, silenceMs: settlement.silence },
    retention: { recordsMs: retention.records, rollupsMs: retention.rollups, archive: retention.archive },
    logging,
    privacy,
    finance,
    watch,
  };
}

/** `anonymous: dev` without a team of that name means a team that may use everything. */
function withAnonymousTeam(teams: readonly TeamConfig[], anonymous: string): readonly TeamConfig[] {
  if (anonymous === '' || teams.some(({ name }) => name === anonymous)) return teams;
  const team: TeamConfig = {
    name: anonymous,
    displayName: anonymous,
    costCenter: '',
    keys: [],
    reservedGpuMillionths: {},
    models: ['*'],
  };
  return [...teams, team];
}
