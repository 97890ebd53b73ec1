import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '#config/load-config.ts';
import { createFolder, loadText, loadValid, MINIMAL, NOW_MS, problemsOf, warningsOf } from './config-file.ts';

describe('defaults', () => {
  test('a minimal file gets every default of the contract', () => {
    const config = loadValid(MINIMAL);
    expect(config.server).toEqual({
      host: '0.0.0.0',
      port: 8080,
      maxBodyBytes: 67_108_864,
      requestTimeoutMs: 600_000,
      drainDelayMs: 5000,
      drainTimeoutMs: 600_000,
      workers: 1,
      exposeUpstream: true,
    });
    expect(config.admin).toEqual({ host: '127.0.0.1', port: 8081, token: '', requireToken: true, metricsToken: '' });
    expect(config.store).toEqual({
      url: 'sqlite:data/inferometer.db',
      prefix: 'inferometer',
      timeoutMs: 50,
      onStoreDown: 'admit',
    });
    expect(config.journal).toEqual({
      dir: 'data/journal',
      fsync: 'grouped',
      retentionMs: 259_200_000,
      maxBytes: 17_179_869_184,
    });
    expect(config.settlement).toEqual({ horizonMs: 30_000, silenceMs: 900_000 });
    expect(config.retention).toEqual({
      recordsMs: 35 * 86_400_000,
      rollupsMs: 400 * 86_400_000,
      archive: 'data/archive',
    });
    expect(config.logging).toEqual({ level: 'info', format: 'json', access: true });
    expect(config.privacy).toEqual({ user: 'keep' });
    expect(config.tenancy).toEqual({
      authentication: ['keys'],
      header: { name: 'x-team', trustedProxies: ['127.0.0.0/8', '::1'] },
      anonymous: '',
    });
    expect(config.watch).toBe(false);
    expect(config.grpc).toBeUndefined();
    expect(config.deployments[0]).toEqual({
      name: 'llama',
      models: ['llama-8b'],
      engine: 'vllm',
      servedModel: 'llama-8b',
      gpu: 'H100-SXM',
      gpuMillionths: 1_000_000,
      priceName: 'h100',
      provisioned: { kind: 'always' },
      upstreams: [
        {
          name: '127.0.0.1:8000',
          url: 'http://127.0.0.1:8000',
          discovery: 'static',
          replicas: 1,
          pool: 'llama/127.0.0.1:8000',
          apiKey: '',
          headers: {},
          dcgm: '',
          gpus: [],
        },
      ],
      timeouts: { connectMs: 2000, firstByteMs: 600_000, idleMs: 120_000 },
      health: { path: '/health', intervalMs: 5000, timeoutMs: 2000, unhealthyAfter: 3 },
      engineStatistics: false,
      work: 'tokens',
      passThrough: ['/v1/audio/*', '/v1/images/*', '/v1/moderations', '/v1/score', '/v1/classify', '/v1/pooling'],
      errors: 'passthrough',
      dropFields: [],
      defaults: {},
      caps: {},
      weight: 1,
      priority: 0,
    });
    expect(config.teams).toEqual([
      {
        name: 'search',
        displayName: 'search',
        costCenter: '',
        keys: [{ key: '0123456789abcdef', name: 'key-1', project: '' }],
        reservedGpuMillionths: {},
        models: ['*'],
      },
    ]);
  });

  test('the configuration is frozen to its leaves', () => {
    const config = loadValid(MINIMAL);
    expect(Object.isFrozen(config.deployments[0]?.upstreams[0]?.headers)).toBe(true);
    expect(() => Object.assign(config.server, { port: 1 })).toThrow(TypeError);
  });

  test('loading one file twice gives equal configurations', () => {
    expect(loadValid(MINIMAL)).toEqual(loadValid(MINIMAL));
  });

  test('a section without any key counts as absent', () => {
    expect(loadValid(`${MINIMAL}\nfinance:\nserver:\n`).server.port).toBe(8080);
  });
});

test('the example of the contract loads with every value it shows', () => {
  const config = loadValid(readFileSync(new URL('./fixtures/contract.yaml', import.meta.url), 'utf8'), {
    SEARCH_KEY: 'search-key-0123456789',
  });
  expect(config.prices[0]).toEqual({
    name: 'h100-reserved',
    gpu: 'H100-SXM',
    nanoUsdPerGpuHour: 2_500_000_000n,
    usdPerGpuHour: '2.5',
    fromMs: Date.UTC(2026, 0, 1),
    from: '2026-01-01',
    source: 'contract 4711',
  });
  const llama = config.deployments[0];
  expect(llama?.gpuMillionths).toBe(4_000_000);
  expect(llama?.servedModel).toBe('llama');
  expect(
    llama?.upstreams.map(({ name, url, discovery, replicas, pool }) => ({ name, url, discovery, replicas, pool })),
  ).toEqual([
    { name: 'trt-1', url: 'http://trt-1:8000', discovery: 'static', replicas: 1, pool: 'llama-70b/trt-1' },
    { name: 'trt:8000', url: 'http://trt:8000', discovery: 'dns', replicas: 1, pool: 'llama-70b/trt:8000' },
    { name: 'pool:8000', url: 'http://pool:8000', discovery: 'static', replicas: 4, pool: 'llama-70b/pool:8000' },
  ]);
  expect(llama?.engineProfile).toEqual({
    iterationMs: 12,
    prefillTokenMs: 0.03,
    prefillContextMs: 0,
    decodeStepMs: 0.04,
    contextTokenMs: 0.000017,
  });
  expect(llama?.baseline).toEqual({
    name: 'Transformers on the same GPU',
    nanoUsdPerMillionTokens: 500_000_000n,
    usdPerMillionTokens: '0.5',
  });
  expect(config.deployments[1]?.health.path).toBe('/v2/health/ready');
  expect(config.teams[0]).toEqual({
    name: 'search',
    displayName: 'Search',
    costCenter: '4711',
    keys: [{ key: 'search-key-0123456789', name: 'ci', project: 'ranking' }],
    reservedGpuMillionths: { 'llama-70b': 2_000_000 },
    budget: { limitNanoUsd: 500_000_000_000n, period: 'month', timezone: 'UTC', onExceed: 'block' },
    limits: { requestsPerMinute: 600, tokensPerMinute: 200_000, concurrency: 50 },
    models: ['llama-*'],
  });
});

test('the starter configuration of the package loads without warning and without any variable set', () => {
  const result = loadConfig({
    path: new URL('../../../config/inferometer.yaml', import.meta.url).pathname,
    env: {},
    nowMs: NOW_MS,
  });
  expect(result).toMatchObject({ ok: true, warnings: [] });
});

describe('problems', () => {
  test('all of them are reported at once, each with file, line and path', () => {
    const path = join(createFolder(), 'broken.yaml');
    writeFileSync(
      path,
      `server: { port: abc, hots: 1 }
prices:
  - { name: a, gpu: H100, usdPerGpuHour: 2.1234567891 }
deployments:
  - name: d
    models: [m]
    engine: vlm
    gpu: H100
    upstreams: []
    provisioned: [{ days: mon-fri, from: "08:00", too: "20:00" }]
teams:
  - { name: s, keys: [{ key: "\${UNSET}" }] }
  - { name: t, keys: [{ key: tooshort }] }
`,
    );
    const result = loadConfig({ path, env: {}, nowMs: NOW_MS });
    if (result.ok) throw new Error('expected problems');
    expect(result.problems.every(({ file }) => file === path)).toBe(true);
    expect(result.problems.map(({ line, path: at }) => `${line} ${at}`)).toEqual([
      '1 server.port',
      '1 server.hots',
      '3 prices[0].usdPerGpuHour',
      '7 deployments[0].engine',
      '9 deployments[0].upstreams',
      '10 deployments[0].provisioned[0].to',
      '10 deployments[0].provisioned[0].too',
      '12 teams[0].keys[0].key',
      '13 teams[1].keys[0].key',
    ]);
  });

  test('the dry run speaks in the same answer as the schema', () => {
    const text = MINIMAL.replace('gpu: H100-SXM\n', 'gpu: L40S\n').replace('name: search', 'name: search, colour: red');
    expect(problemsOf(text)).toEqual([
      '5 teams[0].colour: unknown key: expected one of name, displayName, costCenter, keys, reservedGpus, budget, limits, models',
      '7 deployments[0]: no price is in force for L40S: the price book has h100 (H100-SXM)',
    ]);
  });

  test.each([
    ['server: { prot: 1 }', '12 server.prot: unknown key: did you mean port?'],
    ['sever: { port: 1 }', '12 sever: unknown key: did you mean server?'],
    ['server: 7', '12 server: expected a mapping with the keys host, port'],
    ['server: { port: 65536 }', '12 server.port: expected a whole number from 0 to 65535, found 65536'],
    [
      'server: { requestTimeout: 30 }',
      '12 server.requestTimeout: expected a duration such as 250ms, 30s, 15m, 12h or 7d, found 30',
    ],
    ['server: { exposeUpstream: maybe }', '12 server.exposeUpstream: expected true or false, found "maybe"'],
    ['server: { port: [1] }', '12 server.port: expected a whole number from 0 to 65535, found a list'],
    ['store: { url: "mysql://x" }', '12 store.url: expected sqlite:PATH, redis[s]://host:port/db'],
    ['store: { url: "redis://u:p@ss@host/0" }', '12 store.url: no Redis URL that can be used'],
    ['store: { url: "redis://host:70000" }', '12 store.url: no Redis URL that can be used'],
    ['store: { url: "redis://host/zero" }', '12 store.url: no Redis URL that can be used'],
    ['store: { url: "redis+sentinel://host:26379" }', '12 store.url: no Redis URL that can be used'],
    ['journal: { fsync: sometimes }', '12 journal.fsync: expected one of true, strict, false, found "sometimes"'],
    ['privacy: { user: forget }', '12 privacy.user: expected one of keep, hash, drop, found "forget"'],
  ])('%s says what was expected', (line, expected) => {
    const problems = problemsOf(`${MINIMAL}${line}\n`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(expected);
  });

  test('a file that does not exist is one problem that says what to do', () => {
    expect(loadConfig({ path: '/nowhere/inferometer.yaml', env: {} })).toMatchObject({
      ok: false,
      problems: [{ file: '/nowhere/inferometer.yaml', line: 1, message: expect.stringContaining('inferometer init') }],
    });
  });

  test('a folder in place of a file is a problem, not a crash', () => {
    expect(loadConfig({ path: createFolder(), env: {} })).toMatchObject({ ok: false, problems: [{ line: 1 }] });
  });

  test('broken YAML is reported once with its line, not once per consequence', () => {
    expect(problemsOf('server: { port: 1 }\nprices: [ {\ndeployments: ]\n').length).toBeLessThanOrEqual(3);
    expect(problemsOf('a: 1\na: 2\n')[0]).toMatch(/^2 : not valid YAML: Map keys must be unique/);
  });

  test.each([
    ['brackets', `[`.repeat(20_000)],
    ['braces', '{a: '.repeat(20_000)],
    ['dashes', '- '.repeat(20_000)],
    ['indentation', Array.from({ length: 2000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
  ])('thousands of nested %s are refused quickly and with the line', (_, deep) => {
    const beganMs = performance.now();
    expect(problemsOf(`watch: true\nteams:\n  ${deep}\n`)).toEqual([
      expect.stringMatching(/^\d+ : nests deeper than 100 levels: no key of this file does$/),
    ]);
    expect(performance.now() - beganMs).toBeLessThan(5000);
  });

  test('a second document in the file is named as such', () => {
    expect(problemsOf(`${MINIMAL}---\nteams: []\n`)).toEqual([
      expect.stringMatching(/^12 : not valid YAML: a second document begins here/),
    ]);
  });

  test('a variable without quotes inside braces is named as the cause', () => {
    const problems = problemsOf(`server: { port: \${PORT:-8080}, host: x }\n${MINIMAL}`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('a variable needs quotes');
  });

  test('a comma that cuts a price or a secret in two is a problem, not a cheaper price', () => {
    expect(problemsOf(MINIMAL.replace('2.50', '2,50'))).toEqual([
      '3 prices[0]: a comma cuts a value in two: write numbers with a point, and text that holds a comma in quotes',
    ]);
    const [problem, ...rest] = problemsOf(MINIMAL.replace('0123456789abcdef', '0123456789abcdef,secret-half'));
    expect(problem).toMatch(/^5 teams\[0\]\.keys\[0\]: a comma cuts a value in two/);
    expect(problem).not.toContain('secret-half');
    expect(rest).toEqual([]);
  });

  test('a file in another encoding is refused instead of read with wrong letters', () => {
    const path = join(createFolder(), 'inferometer.yaml');
    for (const encoding of ['latin1', 'utf16le'] as const) {
      writeFileSync(path, Buffer.from(`${MINIMAL}# Zürich`, encoding));
      expect(loadConfig({ path, env: {}, nowMs: NOW_MS })).toMatchObject({
        ok: false,
        problems: [{ line: 1, path: '', message: 'is not UTF-8 text' }],
      });
    }
  });

  test('a file of aliases that multiply each other is refused', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 9; level += 1) {
      lines.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`);
    }
    expect(problemsOf(`${lines.join('\n')}\n`)[0]).toContain('not valid YAML');
  });

  test('an empty file asks for a deployment', () => {
    expect(problemsOf('')).toEqual(['1 deployments: expected at least one deployment']);
  });

  test('a key repeated by merging an anchor keeps the line of the section', () => {
    const text = `${MINIMAL}    <<: &shared { weight: -1 }\n`;
    expect(problemsOf(text)[0]).toContain('deployments[0].weight: expected a number of shares');
  });
});

test('no secret reaches a problem or a warning', () => {
  const secret = 'hunter2 is my secret';
  const text = `${MINIMAL}
admin: { host: 0.0.0.0, token: "\${SECRET}", metricsToken: "\${SECRET}" }
store: { url: "\${SECRET}" }
server: { port: "\${SECRET}" }
`.replace('key: 0123456789abcdef', `key: "${secret}"`);
  const result = loadText(text, { SECRET: secret });
  if (result.ok) throw new Error('expected problems');
  expect(result.problems.map(({ path }) => path)).toEqual(
    expect.arrayContaining(['admin.token', 'store.url', 'server.port', 'teams[0].keys[0].key']),
  );
  expect(JSON.stringify(result.problems)).not.toContain('hunter2');
});

test('keys that are accepted and not acted upon are named once each', () => {
  const text = MINIMAL.replace(
    'name: search,',
    'name: search, limits: { concurrency: 5 }, budget: { usd: 1 },',
  ).replace('deployments:', '  - { name: ads, budget: { usd: 2 } }\ndeployments:');
  expect(warningsOf(text).map((warning) => warning.split(' is not part')[0])).toEqual([
    'teams[0].budget: teams[].budget',
    'teams[0].limits: teams[].limits',
  ]);
});

describe('rubbish', () => {
  const lineCount = (text: string): number => text.split('\n').length;

  test('a damaged file is either still valid or has problems with lines inside it; it never throws', () => {
    const damage = fc.record({
      at: fc.nat(MINIMAL.length),
      remove: fc.nat(6),
      insert: fc.oneof(
        fc.string({ maxLength: 6 }),
        fc.constantFrom('${', '"', '[', '{', '- ', ': ', '&a ', '*a', '<<: ', '\t', '!!x ', '---\n', '\0'),
      ),
    });
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 3 }), (damages) => {
        let text = MINIMAL;
        for (const { at, remove, insert } of damages) text = text.slice(0, at) + insert + text.slice(at + remove);
        const result = loadText(text);
        if (result.ok) return;
        expect(result.problems.length).toBeGreaterThan(0);
        for (const { line, message } of result.problems) {
          expect(line).toBeGreaterThanOrEqual(1);
          expect(line).toBeLessThanOrEqual(lineCount(text));
          expect(message).not.toBe('');
        }
      }),
      { numRuns: 300 },
    );
  });

  test('any JSON in place of a section is a problem of that section or valid, never a crash', () => {
    const keys = [
      'server',
      'admin',
      'store',
      'journal',
      'settlement',
      'retention',
      'logging',
      'privacy',
      'tenancy',
      'finance',
      'watch',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.jsonValue({ maxDepth: 3 }), (key, value) => {
        const result = loadText(`${MINIMAL}${key}: ${JSON.stringify(value).replaceAll('${', '')}\n`);
        if (!result.ok) expect(result.problems.every(({ path }) => path === '' || path.startsWith(key))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
