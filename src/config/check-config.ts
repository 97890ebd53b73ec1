// What must fit together across sections and entries: the dry run. Each key by itself is the schema's and resolve-*.ts's.
import { isLoopbackHost } from './loopback.ts';
import type { AdminConfig, DeploymentConfig, GrpcConfig, ServerConfig, TeamConfig, TenancyConfig } from './config.ts';
import type { ConfigPath, ProblemList } from './problem.ts';
import type { Entry } from './schema.ts';

/** Listening sockets of one gateway: no port twice, the admin plane never open to others without a token. */
export function checkPlanes(
  planes: { readonly server: ServerConfig; readonly admin: AdminConfig; readonly grpc?: GrpcConfig | undefined },
  findings: ProblemList,
): void {
  const { server, admin, grpc } = planes;
  if (admin.port !== 0 && admin.port === server.port) {
    findings.add(['admin', 'port'], `port ${admin.port} is server.port already: the planes need a port each`);
  }
  if (grpc !== undefined && grpc.port !== 0 && (grpc.port === server.port || grpc.port === admin.port)) {
    findings.add(['grpc', 'port'], `port ${grpc.port} is taken by another plane already`);
  }
  if (admin.token !== '' || isLoopbackHost(admin.host)) return;
  if (admin.requireToken) {
    findings.add(
      ['admin', 'token'],
      `is required when admin.host is not loopback (${admin.host}): set admin.token, or requireToken: false to go without`,
    );
  } else {
    findings.warn(
      ['admin', 'requireToken'],
      `anybody who reaches ${admin.host} may read and change everything: no admin.token is set`,
    );
  }
}

/** Names are unique, upstreams of one pool agree about its GPUs, and no engine is counted twice. */
export function checkDeployments(entries: readonly Entry<DeploymentConfig>[], findings: ProblemList): void {
  const names = new Map<string, number>();
  const pools = new Map<string, PoolFacts>();
  const engines = new Map<string, { readonly pool: string; readonly deployment: string }>();
  for (const { index, value } of entries) {
    const path = ['deployments', index] as const;
    const namesake = names.get(value.name);
    if (namesake !== undefined) {
      findings.add([...path, 'name'], `deployments[${namesake}] is named ${value.name} already`);
    }
    names.set(value.name, index);
    for (const [position, upstream] of value.upstreams.entries()) {
      const place = [...path, 'upstreams', position];
      checkPool(pools, { facts: poolFacts(value, position), pool: upstream.pool, path: place, findings });
      const engine = engines.get(upstream.url);
      // The front of a pair may be all that can be reached of both.
      const isPair = [value.prefillBy?.deployment, value.prefillsFor].includes(engine?.deployment ?? '');
      if (engine !== undefined && engine.deployment !== value.name && engine.pool !== upstream.pool && !isPair) {
        findings.warn(
          [...place, 'url'],
          `deployment ${engine.deployment} uses ${upstream.url} too: unless both name one pool, its GPUs are counted twice`,
        );
      }
      engines.set(upstream.url, { pool: upstream.pool, deployment: value.name });
    }
  }
}

/** What one pool has only one of, as comparable text, and who said so first. */
interface PoolFacts {
  readonly deployment: string;
  readonly facts: Readonly<Record<'gpu' | 'gpusPerReplica' | 'replicas' | 'price' | 'provisioned', string>>;
}

function poolFacts(deployment: DeploymentConfig, position: number): PoolFacts {
  return {
    deployment: deployment.name,
    facts: {
      gpu: deployment.gpu,
      gpusPerReplica: String(deployment.gpuMillionths / 1_000_000),
      replicas: String(deployment.upstreams[position]?.replicas),
      price: deployment.priceName,
      provisioned: JSON.stringify(deployment.provisioned),
    },
  };
}

function checkPool(
  pools: Map<string, PoolFacts>,
  here: { readonly facts: PoolFacts; readonly pool: string; readonly path: ConfigPath; readonly findings: ProblemList },
): void {
  const first = pools.get(here.pool);
  if (first === undefined) {
    pools.set(here.pool, here.facts);
    return;
  }
  for (const [fact, value] of Object.entries(here.facts.facts)) {
    const before = first.facts[fact as keyof PoolFacts['facts']];
    if (before !== value) {
      here.findings.add(
        here.path,
        `pool ${here.pool} has ${fact} ${before} by deployment ${first.deployment}, and ${value} here: one pool is one set of GPUs`,
      );
    }
  }
}

/** Team names and keys are unique; names that teams refer to exist. Keys themselves never reach a message. */
export function checkTeams(
  entries: readonly Entry<TeamConfig>[],
  deployments: readonly { readonly name: string }[],
  findings: ProblemList,
): void {
  const names = new Map<string, number>();
  const owners = new Map<string, string>();
  for (const { index, value } of entries) {
    const namesake = names.get(value.name);
    if (namesake !== undefined)
      findings.add(['teams', index, 'name'], `teams[${namesake}] is named ${value.name} already`);
    names.set(value.name, index);
    if (value.models.length === 0) findings.warn(['teams', index, 'models'], 'an empty list allows no model at all');
    for (const [position, { key, name }] of value.keys.entries()) {
      const path = ['teams', index, 'keys', position] as const;
      const owner = owners.get(key);
      if (owner !== undefined) findings.add([...path, 'key'], `the same key is ${owner} already`);
      owners.set(key, `key ${name} of team ${value.name}`);
      if (value.keys.findIndex((other) => other.name === name) < position) {
        findings.add([...path, 'name'], `another key of this team is named ${name}`);
      }
    }
    for (const deployment of Object.keys(value.reservedGpuMillionths)) {
      if (!deployments.some((known) => known.name === deployment)) {
        findings.add(['teams', index, 'reservedGpus', deployment], 'no deployment has this name');
      }
    }
  }
}

/** Whether anybody can get in, and whether the anonymous team is one of the teams. */
export function checkTenancy(tenancy: TenancyConfig, teams: readonly TeamConfig[], findings: ProblemList): void {
  const { authentication, anonymous, header } = tenancy;
  if (anonymous !== '' && !teams.some(({ name }) => name === anonymous)) {
    findings.warn(
      ['tenancy', 'anonymous'],
      `no team is named ${anonymous}: it is taken as a team without further settings`,
    );
  }
  if (authentication.length === 0 && anonymous === '') {
    findings.add(['tenancy', 'authentication'], 'nobody could get in: name a method, or a team for anonymous requests');
  }
  if (authentication.includes('header') && header.trustedProxies.length === 0) {
    findings.add(['tenancy', 'header', 'trustedProxies'], 'authentication by header needs at least one trusted proxy');
  }
  const hasKey = teams.some(({ keys }) => keys.length > 0);
  if (authentication.length === 1 && authentication[0] === 'keys' && anonymous === '' && !hasKey) {
    findings.warn(['teams'], 'no team has a key and tenancy.anonymous is empty: every request is answered with 401');
  }
}
