// From the `dns+` upstreams of the file to one upstream per address. Resolving names is dns-discovery.ts's.
import type { Config, DeploymentConfig } from '#config/config.ts';
import type { UpstreamConfig } from '#config/upstream-config.ts';

/**
 * The config with each `dns+` upstream replaced by one per address of its host, in the order given: named `<name>@<address>`, on GPUs of its
 * own (`<deployment>/<name>@<address>`) unless the file names a pool, which the addresses then share. A host without addresses leaves
 * nothing. The same object where there is no such upstream.
 */
export function expandAddresses(config: Config, addressesOf: (host: string) => readonly string[]): Config {
  if (listDiscoveredHosts(config).size === 0) return config;
  const deployments = config.deployments.map((deployment) => ({
    ...deployment,
    upstreams: deployment.upstreams.flatMap((upstream) =>
      upstream.discovery === 'dns' ? expand(deployment, upstream, addressesOf(hostOf(upstream))) : [upstream],
    ),
  }));
  return Object.freeze({ ...config, deployments });
}

/** Host names whose addresses are upstreams. */
export function listDiscoveredHosts(config: Config): ReadonlySet<string> {
  const upstreams = config.deployments.flatMap((deployment) => deployment.upstreams);
  return new Set(upstreams.filter(({ discovery }) => discovery === 'dns').map(hostOf));
}

function expand(
  deployment: DeploymentConfig,
  upstream: UpstreamConfig,
  addresses: readonly string[],
): readonly UpstreamConfig[] {
  const { name, pool } = upstream;
  const isOwnPool = pool === `${deployment.name}/${name}`;
  return addresses.map((address) => ({
    ...upstream,
    name: `${name}@${address}`,
    address,
    discoveredFrom: name,
    pool: isOwnPool ? `${pool}@${address}` : pool,
  }));
}

function hostOf({ url }: UpstreamConfig): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}
