// `proxy: env` of an upstream: which proxy the environment names for its URL. Nothing else looks at these variables.
import type { Config } from './config.ts';
import type { Environment } from './interpolate.ts';
import type { ProblemList } from './problem.ts';
import type { UpstreamConfig } from './upstream-config.ts';

/**
 * The config with each `proxy: env` replaced by the proxy of `HTTPS_PROXY` or `HTTP_PROXY` (lower case first, as curl reads them), or by none
 * where the variable is not set or `NO_PROXY` names the host. Undefined when a variable holds no proxy's URL, which `findings` then says
 * without quoting it.
 */
export function useEnvironmentProxies(config: Config, env: Environment, findings: ProblemList): Config | undefined {
  const isUsed = config.deployments.some(({ upstreams }) => upstreams.some(({ proxy }) => proxy === 'env'));
  if (!isUsed) return config;
  let isBroken = false;
  const deployments = config.deployments.map((deployment, index) => {
    const upstreams = deployment.upstreams.map((upstream, position): UpstreamConfig => {
      if (upstream.proxy !== 'env') return upstream;
      const { proxy: _word, ...direct } = upstream;
      const { name, value } = readProxy(new URL(upstream.url), env);
      if (value === '') return Object.freeze(direct);
      if (/^https?:\/\//.test(value) && URL.canParse(value)) return Object.freeze({ ...direct, proxy: value });
      isBroken = true;
      const place = ['deployments', index, 'upstreams', position, 'proxy'];
      findings.add(place, `${name} holds no http:// or https:// URL of a proxy`);
      return upstream;
    });
    return Object.freeze({ ...deployment, upstreams: Object.freeze(upstreams) });
  });
  return isBroken ? undefined : Object.freeze({ ...config, deployments: Object.freeze(deployments) });
}

function readProxy(url: URL, env: Environment): { readonly name: string; readonly value: string } {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  if (isExcepted(url, readVariable(env, 'NO_PROXY'))) return { name, value: '' };
  const value = readVariable(env, name);
  // A bare host:port is common; curl takes it as http.
  return { name, value: /^[\w.-]+:\d+$/.test(value) ? `http://${value}` : value };
}

function readVariable(env: Environment, name: string): string {
  return (env[name.toLowerCase()] ?? env[name] ?? '').trim();
}

/** `*`, hosts, and domains with or without a leading dot, each with an optional port. */
function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return list.split(',').some((written) => {
    const entry = written.trim().toLowerCase();
    if (entry === '*') return true;
    const parts = /^(?:\*?\.)?\[?(.+?)\]?(?::(\d+))?$/.exec(entry);
    // An address of IPv6 without brackets has colons of its own.
    const name = entry === host ? host : (parts?.[1] ?? '');
    if (name === '' || (entry !== host && parts?.[2] !== undefined && parts[2] !== port)) return false;
    return host === name || host.endsWith(`.${name}`);
  });
}
