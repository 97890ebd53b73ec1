import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Config } from '#config/config.ts';
import { DnsDiscovery } from '#gateway/dns-discovery.ts';
import { CollectingLog, createConfig, createDeploymentConfig, createUpstreamConfig } from './harness.ts';

const TRT = createUpstreamConfig('http://trt:8000', { name: 'trt', discovery: 'dns' });
const WRITTEN = createConfig([
  createDeploymentConfig([TRT, createUpstreamConfig('http://fixed:8000', { name: 'fixed' })]),
]);

/** A name server that a test tells what to say. */
class FakeNames {
  readonly asked: string[] = [];
  answer: readonly string[] | Error | 'silence' = ['10.0.0.1', '10.0.0.2'];

  readonly resolve = (host: string): Promise<readonly string[]> => {
    this.asked.push(host);
    if (this.answer === 'silence') return new Promise(() => {});
    return this.answer instanceof Error ? Promise.reject(this.answer) : Promise.resolve(this.answer);
  };
}

const errorOf = (code: string): Error => Object.assign(new Error(code), { code });
const namesOf = (config: Config): string[] =>
  config.deployments.flatMap(({ upstreams }) => upstreams.map(({ name }) => name));

let names: FakeNames;
let log: CollectingLog;
let discovery: DnsDiscovery;

beforeEach(() => {
  names = new FakeNames();
  log = new CollectingLog();
  discovery = new DnsDiscovery({ resolve: names.resolve, log, timeoutMs: 20 });
});
afterEach(() => {
  discovery.stop();
  vi.useRealTimers();
});

describe('a dns+ upstream', () => {
  it('is one upstream per address, each with its own GPUs, its name and its own connection', async () => {
    const [deployment] = (await discovery.follow(WRITTEN)).deployments;
    expect(deployment?.upstreams).toMatchObject([
      {
        name: 'trt@10.0.0.1',
        url: 'http://trt:8000',
        address: '10.0.0.1',
        discoveredFrom: 'trt',
        pool: 'llama-70b/trt@10.0.0.1',
      },
      { name: 'trt@10.0.0.2', address: '10.0.0.2', pool: 'llama-70b/trt@10.0.0.2' },
      { name: 'fixed', url: 'http://fixed:8000', pool: 'llama-70b/fixed' },
    ]);
    expect(names.asked).toEqual(['trt']);
  });

  it('shares the pool that the file names among its addresses', async () => {
    const shared = createConfig([createDeploymentConfig([{ ...TRT, pool: 'rack-7' }])]);
    const [deployment] = (await discovery.follow(shared)).deployments;
    expect(deployment?.upstreams.map(({ pool }) => pool)).toEqual(['rack-7', 'rack-7']);
  });

  it('counts a machine with addresses of both families once, and each address once', async () => {
    names.answer = ['fd00::2', '10.0.0.2', 'fd00::1', '10.0.0.1', '10.0.0.1'];
    expect(namesOf(await discovery.follow(WRITTEN))).toEqual(['trt@10.0.0.1', 'trt@10.0.0.2', 'fixed']);
    names.answer = ['fd00::2', 'fd00::1'];
    expect(namesOf(await discovery.follow(WRITTEN))).toEqual(['trt@fd00::1', 'trt@fd00::2', 'fixed']);
  });

  it('has no upstream while its name was never resolved, and holds up nothing else', async () => {
    for (const answer of [errorOf('EAI_AGAIN'), errorOf('ENOTFOUND'), 'silence'] as const) {
      names.answer = answer;
      const fresh = new DnsDiscovery({ resolve: names.resolve, log, timeoutMs: 5 });
      expect(namesOf(await fresh.follow(WRITTEN))).toEqual(['fixed']);
    }
  });

  it('leaves a config without such upstreams as it is', async () => {
    const plain = createConfig([createDeploymentConfig([createUpstreamConfig('http://fixed:8000')])]);
    expect(await discovery.follow(plain)).toBe(plain);
    expect(names.asked).toEqual([]);
  });
});

describe('over time', () => {
  it('addresses are looked up every ten seconds, and only a change is told', async () => {
    const told: string[][] = [];
    await discovery.follow(WRITTEN);
    vi.useFakeTimers();
    discovery.start((config) => void told.push(namesOf(config)));
    await vi.advanceTimersByTimeAsync(9999);
    expect(names.asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(names.asked).toHaveLength(2);
    names.answer = ['10.0.0.2', '10.0.0.1'];
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told).toEqual([]);
    names.answer = ['10.0.0.2', '10.0.0.3'];
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told).toEqual([['trt@10.0.0.2', 'trt@10.0.0.3', 'fixed']]);
    discovery.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(names.asked).toHaveLength(4);
  });

  it('a host without an address at the start is told as such, not as a change', async () => {
    names.answer = errorOf('ENOTFOUND');
    await discovery.follow(WRITTEN);
    expect(log.lines.map((line) => line.includes('cannot be resolved'))).toEqual([true]);
  });

  it('a name server that fails or says nothing takes no engine away, and is told of once', async () => {
    const told: string[][] = [];
    await discovery.follow(WRITTEN);
    discovery.start((config) => void told.push(namesOf(config)));
    for (const answer of [errorOf('EAI_AGAIN'), errorOf('ESERVFAIL'), 'silence', errorOf('EAI_AGAIN')] as const) {
      names.answer = answer;
      await discovery.refresh();
    }
    expect(told).toEqual([]);
    expect(log.lines.filter((line) => line.includes('cannot be resolved'))).toHaveLength(1);
    names.answer = ['10.0.0.9'];
    await discovery.refresh();
    expect(told).toEqual([['trt@10.0.0.9', 'fixed']]);
    expect(log.lines.filter((line) => line.includes('is resolved again'))).toHaveLength(1);
  });

  it('"no such host" is believed the third time in a row', async () => {
    const told: string[][] = [];
    await discovery.follow(WRITTEN);
    discovery.start((config) => void told.push(namesOf(config)));
    const say = async (answer: readonly string[] | Error): Promise<void> => {
      names.answer = answer;
      await discovery.refresh();
    };
    await say(errorOf('ENOTFOUND'));
    await say([]);
    await say(['10.0.0.1', '10.0.0.2']);
    await say(errorOf('ENOTFOUND'));
    await say(errorOf('ENODATA'));
    expect(told).toEqual([]);
    await say(errorOf('ENOTFOUND'));
    expect(told).toEqual([['fixed']]);
  });

  it('upstreams whose address is gone are remembered until it comes back', async () => {
    await discovery.follow(WRITTEN);
    discovery.start(() => {});
    expect(discovery.departed()).toEqual([]);
    names.answer = ['10.0.0.2'];
    await discovery.refresh();
    const pools = () => discovery.departed().flatMap(({ upstreams }) => upstreams.map(({ pool }) => pool));
    expect(pools()).toEqual(['llama-70b/trt@10.0.0.1']);
    names.answer = ['10.0.0.1'];
    await discovery.refresh();
    expect(pools()).toEqual(['llama-70b/trt@10.0.0.2']);
    await discovery.follow(createConfig([createDeploymentConfig([TRT], { priceName: 'cheaper' })]));
    expect(discovery.departed()).toMatchObject([{ priceName: 'cheaper' }]);
    await discovery.follow(createConfig([createDeploymentConfig([createUpstreamConfig('http://fixed:8000')])]));
    expect(discovery.departed()).toEqual([]);
  });

  it('a lookup that ends after a reload does not bring the old config back', async () => {
    const told: Config[] = [];
    await discovery.follow(WRITTEN);
    discovery.start((config) => void told.push(config));
    names.answer = 'silence';
    const refreshing = discovery.refresh();
    names.answer = ['10.0.0.8'];
    const current = await discovery.follow(createConfig([createDeploymentConfig([TRT])]));
    await refreshing;
    expect(told).toEqual([]);
    expect([discovery.isCurrent(current), namesOf(current)]).toEqual([true, ['trt@10.0.0.8']]);
  });

  it('that a reload takes out of the file has left, like any other upstream, until it is there again', async () => {
    await discovery.follow(WRITTEN);
    expect([...discovery.left]).toEqual([]);
    await discovery.follow(createConfig([createDeploymentConfig([], { name: 'other' })]));
    expect([...discovery.left].toSorted()).toEqual([
      'llama-70b/fixed',
      'llama-70b/trt@10.0.0.1',
      'llama-70b/trt@10.0.0.2',
    ]);
    expect(discovery.departed()).toEqual([]);
    await discovery.follow(WRITTEN);
    expect([...discovery.left]).toEqual([]);
  });
});
