import { describe, expect, test } from 'vitest';
import { isLoopbackHost } from '#config/loopback.ts';
import { loadValid, MINIMAL, problemsOf, warningsOf } from './config-file.ts';

const deployment = (name: string, rest: string): string =>
  `  - { name: ${name}, models: [${name}], engine: vllm, gpu: H100-SXM, ${rest} }\n`;

describe('upstreams', () => {
  const withUpstreams = (upstreams: string): string => MINIMAL.replace(/upstreams: .*/, `upstreams: [${upstreams}]`);

  test.each([
    ['{ url: "ftp://x" }', 'expected a URL such as http://trt-1:8000'],
    ['{ url: nonsense }', 'expected a URL such as http://trt-1:8000'],
    ['{ url: "http://u:p@x" }', 'put credentials into apiKey or headers'],
    ['{ url: "http://x/?a=1" }', 'without ? and #'],
    ['{ url: "http://x:8000/v1" }', 'without /v1'],
    ['{ url: "http://x", tls: { ca: "-----BEGIN CERTIFICATE-----" } }', 'begins with https://'],
    ['{ url: "https://x", tls: { cert: "-----BEGIN CERTIFICATE-----" } }', 'given together'],
    ['{ url: "http://x", headers: { content-length: "1" } }', 'is set by the gateway itself'],
    ['{ url: "http://x", headers: { "a b": "1" } }', 'expected the name of a header'],
    ['{ url: "http://x", headers: { X-A: "1", x-a: "2" } }', 'stands there twice'],
    ['{ url: "http://x", apiKey: k, headers: { Authorization: "Bearer k" } }', 'either apiKey or this header'],
    ['{ url: "http://x", headers: { a: "one\\ntwo" } }', 'without line breaks'],
    ['{ url: "http://x" }, { url: "http://x/" }', 'stands in this deployment twice'],
    ['{ url: "http://x", name: a }, { url: "http://y", name: a }', 'another upstream of this deployment is named a'],
    ['{ url: "http://x", replicas: 0 }', 'a whole number from 1'],
  ])('%s is refused', (upstreams, expected) => {
    const problems = problemsOf(withUpstreams(upstreams));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(expected);
  });

  test('names without a name are host and port, numbered where two would be alike', () => {
    const config = loadValid(
      withUpstreams('{ url: "http://x:1/a/" }, { url: "http://x:1/b" }, { url: "https://[::1]:9" }'),
    );
    expect(config.deployments[0]?.upstreams.map(({ name, url }) => [name, url])).toEqual([
      ['x:1', 'http://x:1/a'],
      ['x:1-2', 'http://x:1/b'],
      ['[::1]:9', 'https://[::1]:9'],
    ]);
  });

  test('an automatic name never takes one that is written further down', () => {
    const config = loadValid(withUpstreams('{ url: "http://x:1" }, { url: "http://y:1", name: "x:1" }'));
    expect(config.deployments[0]?.upstreams.map(({ name }) => name)).toEqual(['x:1-2', 'x:1']);
  });

  test('header names are kept in lower case and TLS without values is no TLS', () => {
    const config = loadValid(
      withUpstreams('{ url: "http://x", headers: { X-Team: 7 }, tls: { ca: "", serverName: "" } }'),
    );
    expect(config.deployments[0]?.upstreams[0]?.headers).toEqual({ 'x-team': '7' });
    expect(config.deployments[0]?.upstreams[0]).not.toHaveProperty('tls');
  });
});

describe('deployments', () => {
  test.each([
    ['tensorrt-llm', '/health'],
    ['triton-openai', '/health/ready'],
    ['triton', '/v2/health/ready'],
    ['nim', '/v1/health/ready'],
    ['dynamo', '/health'],
    ['vllm', '/health'],
    ['tgi', '/info'],
    ['transformers', '/health'],
    ['openai', '/v1/models'],
  ])('the health check of %s never generates: %s', (engine, path) => {
    expect(loadValid(MINIMAL.replace('vllm', engine)).deployments[0]?.health.path).toBe(path);
  });

  test('a path in the file replaces the default', () => {
    expect(loadValid(`${MINIMAL}    health: { path: /ready }\n`).deployments[0]?.health.path).toBe('/ready');
  });

  test('two of one name are refused', () => {
    expect(problemsOf(MINIMAL + deployment('llama', 'upstreams: [{ url: "http://y" }]'))).toEqual([
      '12 deployments[1].name: deployments[0] is named llama already',
    ]);
  });

  test('one model name may stand in several deployments, but not twice in one', () => {
    expect(
      problemsOf(MINIMAL + deployment('b', 'upstreams: [{ url: "http://y" }]').replace('[b]', '[llama-8b]')),
    ).toEqual([]);
    expect(problemsOf(MINIMAL.replace('[llama-8b]', '[a, b, a]'))[0]).toContain(
      'deployments[0].models[2]: a stands in this list twice',
    );
  });

  test('upstreams of one pool agree about its GPUs, or the disagreement is named', () => {
    const text = MINIMAL.replace('gpu: H100-SXM\n', 'gpu: H100-SXM\n    pool: shared\n');
    const second = (rest: string): string => text + deployment('b', `pool: shared, ${rest}`);
    expect(problemsOf(second('upstreams: [{ url: "http://127.0.0.1:8000" }]'))).toEqual([]);
    expect(problemsOf(second('gpusPerReplica: 2, upstreams: [{ url: "http://y" }]'))).toEqual([
      '13 deployments[1].upstreams[0]: pool shared has gpusPerReplica 1 by deployment llama, and 2 here: one pool is one set of GPUs',
    ]);
    expect(problemsOf(second('upstreams: [{ url: "http://y", replicas: 2 }]'))[0]).toContain('has replicas 1');
    expect(problemsOf(second('provisioned: health, upstreams: [{ url: "http://y" }]'))[0]).toContain('has provisioned');
  });

  test('a pool of an upstream goes before that of its deployment', () => {
    const config = loadValid(
      MINIMAL.replace('8000" }', '8000", pool: own }, { url: "http://y", name: y }') + '    pool: ours\n',
    );
    expect(config.deployments[0]?.upstreams.map(({ pool }) => pool)).toEqual(['own', 'ours']);
  });

  test('one engine in two deployments without a common pool is warned about: its GPUs would count twice', () => {
    expect(warningsOf(MINIMAL + deployment('b', 'upstreams: [{ url: "http://127.0.0.1:8000" }]'))[0]).toContain(
      'its GPUs are counted twice',
    );
  });

  test('a profile of zeros and impossible terms are refused', () => {
    const withProfile = (terms: string): readonly string[] => problemsOf(`${MINIMAL}    engineProfile: { ${terms} }\n`);
    const rest = 'prefillTokenMs: 0, decodeStepMs: 0, contextTokenMs: 0';
    expect(withProfile(`iterationMs: 0, ${rest}`)[0]).toContain('at least one term must be above 0');
    expect(withProfile(`iterationMs: 60001, ${rest}`)[0]).toContain('from 0 to 60000');
    expect(withProfile(`iterationMs: -1, ${rest}`)[0]).toContain('found -1');
    expect(withProfile(rest)[0]).toContain('engineProfile.iterationMs: is required');
    expect(withProfile(`iterationMs: 5, ${rest}`)).toEqual([]);
    expect(withProfile(`iterationMs: 5, ${rest}, fixed: true`)).toEqual([]);
    expect(withProfile(`iterationMs: 5, ${rest}, fixed: 2`)[0]).toContain('engineProfile.fixed');
  });
});

describe('schedules', () => {
  const withRule = (rule: string): string => `${MINIMAL}    provisioned: [{ ${rule} }]\n`;

  test('a schedule is days and minutes in its zone', () => {
    const config = loadValid(withRule('days: mon-fri, from: "08:00", to: "20:30", timezone: Europe/Berlin'));
    expect(config.deployments[0]?.provisioned).toEqual({
      kind: 'schedule',
      rules: [{ days: [1, 2, 3, 4, 5], fromMinute: 480, toMinute: 1230, timezone: 'Europe/Berlin' }],
    });
  });

  test.each([
    ['days: workdays, from: "08:00", to: "20:00"', 'days: expected week days'],
    ['days: mon, from: "24:00", to: "20:00"', 'from: expected a time'],
    ['days: mon, from: "08:00", to: "25:00"', 'to: expected a time'],
    ['days: mon, from: "08:00", to: "08:00"', 'to: the span is empty'],
    ['days: mon, from: "08:00", to: "20:00", timezone: Mars/Olympus', 'timezone: expected an IANA time zone'],
  ])('%s is refused', (rule, expected) => {
    expect(problemsOf(withRule(rule))).toEqual([expect.stringContaining(expected)]);
  });

  test('any other word than always or health is refused with the choices', () => {
    expect(problemsOf(`${MINIMAL}    provisioned: sometimes\n`)).toEqual([
      '12 deployments[0].provisioned: expected always, health, or a list of { days, from, to, timezone }',
    ]);
  });
});

describe('planes', () => {
  test('the admin plane beyond loopback needs a token', () => {
    expect(problemsOf(`${MINIMAL}admin: { host: 0.0.0.0 }\n`)).toEqual([
      expect.stringContaining('12 admin.token: is required'),
    ]);
    expect(problemsOf(`${MINIMAL}admin: { host: 0.0.0.0, token: secret-token }\n`)).toEqual([]);
    expect(problemsOf(`${MINIMAL}admin: { host: "::1" }\n`)).toEqual([]);
  });

  test('requireToken: false takes it back to a warning', () => {
    expect(warningsOf(`${MINIMAL}admin: { host: 0.0.0.0, requireToken: false }\n`)).toEqual([
      expect.stringContaining('admin.requireToken: anybody'),
    ]);
  });

  test('one port serves one plane; port 0 is free for all', () => {
    expect(problemsOf(`${MINIMAL}admin: { port: 8080 }\n`)[0]).toContain(
      'admin.port: port 8080 is server.port already',
    );
    expect(problemsOf(`${MINIMAL}grpc: { port: 8081 }\n`)[0]).toContain('grpc.port: port 8081 is taken');
    expect(problemsOf(`${MINIMAL}admin: { port: 0 }\nserver: { port: 0 }\n`)).toEqual([]);
  });

  test('TLS of the server is a certificate with its key', () => {
    expect(problemsOf(`${MINIMAL}server: { tls: { cert: "-----BEGIN CERTIFICATE-----" } }\n`)[0]).toContain(
      'given together',
    );
    expect(loadValid(`${MINIMAL}server: { tls: { cert: "", key: "" } }\n`).server).not.toHaveProperty('tls');
  });

  test.each([
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['::1', true],
    ['[::1]', true],
    ['localhost', true],
    ['0.0.0.0', false],
    ['::', false],
    ['10.0.0.1', false],
    ['localhost.example.com', false],
  ])('%s reaches this machine only: %s', (host, expected) => {
    expect(isLoopbackHost(host)).toBe(expected);
  });
});

describe('teams and identity', () => {
  test('a key belongs to one team only and is never shown', () => {
    const problems = problemsOf(
      MINIMAL.replace('deployments:', '  - { name: ads, keys: [{ key: 0123456789abcdef }] }\ndeployments:'),
    );
    expect(problems).toEqual(['6 teams[1].keys[0].key: the same key is key key-1 of team search already']);
  });

  test.each(['short', 'has a space in it', 'tab\\tin the middle of it'])('the key %j is refused', (key) => {
    expect(problemsOf(MINIMAL.replace('0123456789abcdef', `"${key}"`))).toEqual([
      expect.stringContaining('at least 16 characters'),
    ]);
  });

  test.each(['none', 'other', '(unattributed)', '""'])('a team cannot be named %s', (name) => {
    expect(problemsOf(MINIMAL.replace('name: search', `name: ${name}`))).toHaveLength(1);
  });

  test('two teams of one name are refused', () => {
    expect(problemsOf(MINIMAL.replace('deployments:', '  - { name: search }\ndeployments:'))[0]).toContain(
      'teams[0] is named search already',
    );
  });

  test('a reservation names a deployment', () => {
    expect(problemsOf(MINIMAL.replace('name: search', 'name: search, reservedGpus: { lama: 1 }'))).toEqual([
      '5 teams[0].reservedGpus.lama: no deployment has this name',
    ]);
  });

  test('an anonymous team that is not declared may use everything, with a warning', () => {
    const text = `${MINIMAL}tenancy: { anonymous: dev }\n`;
    expect(loadValid(text).teams.at(-1)).toMatchObject({ name: 'dev', keys: [], models: ['*'] });
    expect(warningsOf(text)[0]).toContain('no team is named dev');
  });

  test.each(['none', 'other', '(unattributed)'])(
    'requests without identity are no team %s, whose name the books use otherwise',
    (name) => {
      expect(problemsOf(`${MINIMAL}tenancy: { anonymous: ${name} }\n`)).toEqual([
        expect.stringContaining('tenancy.anonymous: '),
      ]);
    },
  );

  test.each([
    ['{ authentication: [] }', 'nobody could get in'],
    ['{ authentication: [keys, keys] }', 'keys stands in this list twice'],
    ['{ authentication: [header], header: { trustedProxies: [] } }', 'at least one trusted proxy'],
    ['{ header: { trustedProxies: [10.0.0.0/33] } }', 'expected an address or a CIDR range'],
    ['{ header: { trustedProxies: [proxy.local] } }', 'expected an address or a CIDR range'],
    ['{ header: { trustedProxies: [10/8] } }', 'expected an address or a CIDR range'],
    ['{ header: { trustedProxies: [010.0.0.1] } }', 'expected an address or a CIDR range'],
    ['{ header: { name: Authorization } }', 'has another meaning already'],
    ['{ authentication: [oidc] }', 'expected one of keys, jwt, header'],
  ])('tenancy %s is refused', (tenancy, expected) => {
    const problems = problemsOf(`${MINIMAL}tenancy: ${tenancy}\n`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(expected);
  });

  test('a team that is allowed no model is warned about', () => {
    expect(warningsOf(MINIMAL.replace('name: search', 'name: search, models: []'))[0]).toContain(
      'allows no model at all',
    );
  });

  test('a gateway that nobody can enter is warned about', () => {
    expect(warningsOf(MINIMAL.replace(/keys: \[.*]/, 'keys: []'))).toEqual([
      expect.stringContaining('every request is answered with 401'),
    ]);
  });
});

test('a pool dearer than the books can count is refused: its first hours would stop the settlement of all others', () => {
  const priced = (usd: number, gpus: number, replicas: number): string =>
    MINIMAL.replace(/usdPerGpuHour: [^,}\s]+/, `usdPerGpuHour: ${usd}`)
      .replace(/gpusPerReplica: [^,}\s]+/, '')
      .replace(
        /( *)upstreams: .*/,
        `$1gpusPerReplica: ${gpus}\n$1upstreams: [{ url: "http://x", replicas: ${replicas} }]`,
      );
  expect(problemsOf(priced(100, 100_000, 1))).toEqual([]);
  for (const beyond of [priced(100, 100_000, 2), priced(100_000, 100_000, 10_000)]) {
    const problems = problemsOf(beyond);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('at most 10000000 dollars an hour');
  }
});

test.each(['constructor', 'toString', 'hasOwnProperty'])(
  'nothing is named %s, which every object has: its work could not be sealed',
  (word) => {
    expect(problemsOf(MINIMAL.replace('name: llama', `name: ${word}`)).join()).toContain(
      'no word that every object has',
    );
    const pooled = MINIMAL.replace('upstreams:', `pool: ${word}\n    upstreams:`);
    expect(problemsOf(pooled).join()).toContain('no word that every object has');
    expect(problemsOf(MINIMAL.replace('name: llama', `name: ${word}-1`))).toEqual([]);
  },
);
