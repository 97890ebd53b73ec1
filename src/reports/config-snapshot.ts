// What reports of a closed month need of the configuration, kept as text so that the month reproduces whatever the file says later.
// Secrets are left out: no key, no header, no certificate.
import type { Config, DeploymentConfig, FinanceConfig, TeamConfig } from '#config/config.ts';

export type ReportConfig = Pick<Config, 'teams' | 'deployments'> & { readonly finance?: Partial<FinanceConfig> };

const BIGINT = '$bigint';

/** Deterministic for the same configuration. Inverse: `restoreConfig`. */
export function snapshotConfig({ teams, deployments, finance }: ReportConfig): string {
  const snapshot: ReportConfig = {
    teams: teams.map(withoutKeys),
    deployments: deployments.map(withoutSecrets),
    ...(finance === undefined ? {} : { finance }),
  };
  return JSON.stringify(snapshot, (_, value: unknown) =>
    typeof value === 'bigint' ? { [BIGINT]: `${value}` } : value,
  );
}

/** Throws SyntaxError on anything but what `snapshotConfig` made. */
export function restoreConfig(text: string): ReportConfig {
  return JSON.parse(text, (_, value: unknown) => {
    const isTagged = typeof value === 'object' && value !== null && BIGINT in value;
    return isTagged ? BigInt(String(value[BIGINT])) : value;
  }) as ReportConfig;
}

function withoutKeys(team: TeamConfig): TeamConfig {
  return { ...team, keys: [] };
}

function withoutSecrets(deployment: DeploymentConfig): DeploymentConfig {
  const upstreams = deployment.upstreams.map(({ name, url, discovery, replicas, pool, gpus }) => {
    const safe = url.replace(/\/\/[^/@]*@/, '//');
    return { name, url: safe, discovery, replicas, pool, apiKey: '', headers: {}, dcgm: '', gpus };
  });
  return { ...deployment, upstreams, defaults: {} };
}
