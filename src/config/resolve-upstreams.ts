// The upstreams of one deployment: URLs taken apart, names and pools filled in, headers and TLS checked.
import type { UpstreamConfig, UpstreamTlsConfig } from './config.ts';
import type { ConfigPath, ProblemList } from './problem.ts';
import type { DeploymentInput, UpstreamInput } from './schema-deployments.ts';

/** Headers that belong to one connection or to the body's framing; the gateway sets them itself. */
const OWN_HEADERS = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]{1,128}$/;

/** In the order of the file. Upstreams without a name get their host and port, numbered where that is taken. */
export function resolveUpstreams(
  deployment: DeploymentInput,
  path: ConfigPath,
  findings: ProblemList,
): readonly UpstreamConfig[] {
  const names = new Set(deployment.upstreams.map(({ name }) => name));
  const urls = new Set<string>();
  const upstreams: UpstreamConfig[] = [];
  for (const [index, written] of deployment.upstreams.entries()) {
    const place = [...path, 'upstreams', index];
    const address = parseAddress(written.url, [...place, 'url'], findings);
    if (address === undefined) continue;
    if (urls.has(address.url)) findings.add([...place, 'url'], `${address.url} stands in this deployment twice`);
    urls.add(address.url);
    const name = written.name === '' ? freeName(address.host, names) : written.name;
    names.add(name);
    if (deployment.upstreams.findIndex((other) => other.name === name) < index && written.name !== '') {
      findings.add([...place, 'name'], `another upstream of this deployment is named ${name}`);
    }
    const { host: _host, ...location } = address;
    upstreams.push(completeUpstream(written, { ...location, name, deployment, place, findings }));
  }
  return upstreams;
}

interface UpstreamPlace extends Pick<UpstreamConfig, 'url' | 'discovery' | 'name'> {
  readonly deployment: DeploymentInput;
  readonly place: ConfigPath;
  readonly findings: ProblemList;
}

function completeUpstream(written: UpstreamInput, known: UpstreamPlace): UpstreamConfig {
  const { url, discovery, name, deployment, place, findings } = known;
  const tls = resolveTls(written, known);
  if (written.grpcUrl !== '' && !URL.canParse(written.grpcUrl)) {
    findings.add([...place, 'grpcUrl'], 'expected a URL such as grpc://triton:8001 or grpcs://triton:8001');
  }
  const proxy = resolveProxy(written, known);
  if (written.dcgm !== '' && parseUrl(written.dcgm) === undefined) {
    findings.add([...place, 'dcgm'], 'expected the http:// or https:// URL of a DCGM exporter');
  }
  return {
    name,
    url,
    discovery,
    replicas: written.replicas,
    pool: [written.pool, deployment.pool].find((pool) => pool !== '') ?? `${deployment.name}/${name}`,
    apiKey: written.apiKey,
    headers: resolveHeaders(written, place, findings),
    dcgm: written.dcgm,
    gpus: written.gpus,
    ...(tls === undefined ? {} : { tls }),
    ...(written.grpcUrl === '' ? {} : { grpcUrl: written.grpcUrl }),
    ...(proxy === undefined ? {} : { proxy }),
    ...(written.weight === undefined ? {} : { weight: written.weight }),
    ...(written.maxInFlight === undefined ? {} : { maxInFlight: written.maxInFlight }),
  };
}

function parseUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined;
}

/** Takes off the `dns+` prefix and the trailing slash; everything that would be lost on the way is a problem. */
function parseAddress(
  written: string,
  place: ConfigPath,
  findings: ProblemList,
): { readonly url: string; readonly host: string; readonly discovery: UpstreamConfig['discovery'] } | undefined {
  const discovery = written.startsWith('dns+') ? 'dns' : 'static';
  const url = parseUrl(discovery === 'dns' ? written.slice('dns+'.length) : written);
  const problem = (message: string): undefined => {
    findings.add(place, message);
  };
  if (url === undefined) return problem('expected a URL such as http://trt-1:8000 or dns+http://trt:8000');
  if (url.username !== '' || url.password !== '')
    return problem('put credentials into apiKey or headers, not into the URL');
  if (url.search !== '' || url.hash !== '') return problem('expected a base URL without ? and #');
  const path = url.pathname.replace(/\/+$/, '');
  if (/\/v[12]$/.test(path))
    return problem(`expected the base URL without ${path.slice(-3)}: the gateway adds the route itself`);
  return { url: `${url.protocol}//${url.host}${path}`, host: url.host, discovery };
}

function freeName(host: string, taken: ReadonlySet<string>): string {
  let name = host;
  for (let number = 2; taken.has(name); number += 1) name = `${host}-${number}`;
  return name;
}

function resolveTls(written: UpstreamInput, known: UpstreamPlace): UpstreamTlsConfig | undefined {
  const { tls } = written;
  if (tls === undefined || Object.values(tls).every((value) => value === '')) return undefined;
  const place = [...known.place, 'tls'];
  if (known.url.startsWith('http:')) known.findings.add(place, 'tls needs a URL that begins with https://');
  if ((tls.cert === '') !== (tls.key === ''))
    known.findings.add(place, 'cert and key are given together or not at all');
  return tls;
}

/** `env` stays a word: environment-proxy.ts replaces it. */
function resolveProxy({ proxy }: UpstreamInput, known: UpstreamPlace): string | undefined {
  if (proxy === '') return undefined;
  const place = [...known.place, 'proxy'];
  if (known.discovery === 'dns')
    known.findings.add(place, 'a proxy resolves names itself: use http:// instead of dns+http://');
  if (proxy !== 'env' && parseUrl(proxy) === undefined) {
    known.findings.add(place, 'expected env, or the http:// or https:// URL of a proxy');
  }
  return proxy;
}

function resolveHeaders(
  written: UpstreamInput,
  place: ConfigPath,
  findings: ProblemList,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(written.headers)) {
    const lower = name.toLowerCase();
    const problem = (message: string): void => findings.add([...place, 'headers', name], message);
    if (!HEADER_NAME.test(name)) problem('expected the name of a header');
    else if (OWN_HEADERS.has(lower)) problem('is set by the gateway itself');
    else if (Object.hasOwn(headers, lower)) problem('stands there twice: the case of header names does not matter');
    else if (lower === 'authorization' && written.apiKey !== '') problem('give either apiKey or this header, not both');
    else headers[lower] = value;
  }
  return headers;
}
