import { describe, expect, test } from 'vitest';
import { loadValid, MINIMAL, problemsOf } from './config-file.ts';

const withUpstream = (keys: string, url = 'http://127.0.0.1:8000'): string =>
  MINIMAL.replace('{ url: "http://127.0.0.1:8000" }', `{ url: "${url}", ${keys} }`);
const proxyOf = (text: string, env: Readonly<Record<string, string>> = {}): string | undefined =>
  loadValid(text, env).deployments[0]?.upstreams[0]?.proxy;

const PROXIES = { HTTP_PROXY: 'http://plain:3128', HTTPS_PROXY: 'http://secure:3128' };

describe('proxy', () => {
  test('is none by default, whatever the environment says', () => {
    expect(proxyOf(MINIMAL, PROXIES)).toBeUndefined();
    expect(proxyOf(withUpstream('proxy: ""'), PROXIES)).toBeUndefined();
  });

  test('may be named in the file', () => {
    expect(proxyOf(withUpstream('proxy: "http://user:pass@proxy:3128"'), PROXIES)).toBe('http://user:pass@proxy:3128');
  });

  test.each([
    ['http://engine:8000', PROXIES, 'http://plain:3128'],
    ['https://engine', PROXIES, 'http://secure:3128'],
    ['http://engine:8000', { ...PROXIES, http_proxy: 'http://lower:1' }, 'http://lower:1'],
    ['http://engine:8000', { HTTP_PROXY: 'bare:3128' }, 'http://bare:3128'],
    ['http://engine:8000', { HTTPS_PROXY: 'http://secure:3128' }, undefined],
    ['http://engine:8000', {}, undefined],
  ])('env: %s with %o goes through %s', (url, env, expected) => {
    expect(proxyOf(withUpstream('proxy: env', url), env as Record<string, string>)).toBe(expected);
  });

  test.each([
    ['*', true],
    ['engine.gpu.internal', true],
    ['gpu.internal', true],
    ['.gpu.internal', true],
    ['*.gpu.internal', true],
    ['GPU.Internal', true],
    ['other, gpu.internal:8000', true],
    ['gpu.internal:9000', false],
    ['pu.internal', false],
    ['engine', false],
    ['', false],
  ])('env: NO_PROXY "%s" excepts engine.gpu.internal:8000: %s', (list, isExcepted) => {
    const text = withUpstream('proxy: env', 'http://engine.gpu.internal:8000');
    expect(proxyOf(text, { ...PROXIES, NO_PROXY: list })).toBe(isExcepted ? undefined : PROXIES.HTTP_PROXY);
  });

  test('env: addresses of IPv6 are excepted with and without brackets', () => {
    const text = withUpstream('proxy: env', 'http://[fd00::1]:8000');
    for (const list of ['fd00::1', '[fd00::1]', '[fd00::1]:8000']) {
      expect(proxyOf(text, { ...PROXIES, NO_PROXY: list })).toBeUndefined();
    }
    expect(proxyOf(text, { ...PROXIES, NO_PROXY: '[fd00::1]:9000' })).toBe(PROXIES.HTTP_PROXY);
  });

  test('that cannot be one is a problem that does not repeat it', () => {
    expect(problemsOf(withUpstream('proxy: "socks5://hunter2@x"'))).toEqual([
      '11 deployments[0].upstreams[0].proxy: expected env, or the http:// or https:// URL of a proxy',
    ]);
    const env = { HTTP_PROXY: 'ftp://hunter2@proxy' };
    expect(problemsOf(withUpstream('proxy: env'), env)).toEqual([
      '11 deployments[0].upstreams[0].proxy: HTTP_PROXY holds no http:// or https:// URL of a proxy',
    ]);
  });

  test('and a name to be resolved by the gateway exclude each other', () => {
    expect(problemsOf(withUpstream('proxy: "http://proxy:3128"', 'dns+http://trt:8000'))).toEqual([
      expect.stringContaining('a proxy resolves names itself'),
    ]);
  });
});

describe('how requests are shared out', () => {
  const inDeployment = (line: string): string => `${MINIMAL}    ${line}\n`;

  test('queue, affinity, weight and maxInFlight are absent unless given, and have defaults inside', () => {
    const [plain] = loadValid(MINIMAL).deployments;
    expect([plain?.queue, plain?.affinity, plain?.upstreams[0]?.weight, plain?.upstreams[0]?.maxInFlight]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(loadValid(inDeployment('queue: { size: 7 }')).deployments[0]?.queue).toEqual({ size: 7, timeoutMs: 30_000 });
    expect(loadValid(inDeployment('queue: { timeout: 5s }')).deployments[0]?.queue).toEqual({
      size: 1000,
      timeoutMs: 5000,
    });
    expect(loadValid(inDeployment('affinity: {}')).deployments[0]?.affinity).toEqual({ prefixBytes: 1024 });
    const [upstream] = loadValid(withUpstream('weight: 2.5, maxInFlight: 64')).deployments[0]?.upstreams ?? [];
    expect([upstream?.weight, upstream?.maxInFlight]).toEqual([2.5, 64]);
  });

  test.each(['weight: 0', 'weight: -1', 'maxInFlight: 0', 'maxInFlight: 1.5'])('%s is a problem', (keys) => {
    expect(problemsOf(withUpstream(keys))).toHaveLength(1);
  });
});
