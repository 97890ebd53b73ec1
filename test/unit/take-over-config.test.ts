import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Config } from '#config/config.ts';
import { silentLog } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { DnsDiscovery } from '#gateway/dns-discovery.ts';
import { ConfigTakeOver } from '#src/take-over-config.ts';
import { createConfig, createDeploymentConfig, createUpstreamConfig } from './gateway/harness.ts';

const DNS = createUpstreamConfig('http://trt:8000', { name: 'trt', discovery: 'dns' });
const WRITTEN = createConfig([createDeploymentConfig([DNS])]);
const OTHER = createConfig([createDeploymentConfig([DNS], { weight: 7 })]);

let addresses: readonly string[];
let isStoreUp: boolean;
let steps: string[];
let discovery: DnsDiscovery;
let takeOver: ConfigTakeOver;

const describeConfig = ({ deployments }: Config): string =>
  deployments.map(({ weight, upstreams }) => `${weight}:${upstreams.map(({ address }) => address).join('+')}`).join();

beforeEach(async () => {
  vi.useFakeTimers();
  addresses = ['10.0.0.1'];
  isStoreUp = true;
  steps = [];
  discovery = new DnsDiscovery({ log: silentLog, resolve: () => Promise.resolve(addresses) });
  takeOver = new ConfigTakeOver({
    discovery,
    accounting: {
      async applyFacts() {
        steps.push('facts');
        await Promise.resolve();
        if (!isStoreUp) throw new StoreUnavailableError('down');
        return ['a refusal'];
      },
    },
    log: silentLog,
    announce: (config) => void steps.push(`announced ${describeConfig(config)}`),
    use: (config) => void steps.push(`used ${describeConfig(config)}`),
  });
  await discovery.follow(WRITTEN);
});
afterEach(() => {
  takeOver.stop();
  vi.useRealTimers();
});

it('facts are stored before a request can reach what they are about, and refusals are told', async () => {
  expect(await takeOver.reload(OTHER)).toEqual(['a refusal']);
  expect(steps).toEqual(['announced 7:10.0.0.1', 'facts', 'used 7:10.0.0.1']);
});

it('a start tells the refused prices, and goes on where the store went away after it was joined', async () => {
  expect(await takeOver.begin()).toEqual(['a refusal']);
  isStoreUp = false;
  expect(await takeOver.begin()).toEqual([]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(steps).toEqual(['facts', 'facts']);
});

it('a new address is taken over in the same way, without a reload', async () => {
  takeOver.watch();
  addresses = ['10.0.0.1', '10.0.0.2'];
  await vi.advanceTimersByTimeAsync(10_000);
  expect(steps).toEqual(['announced 1:10.0.0.1+10.0.0.2', 'facts', 'used 1:10.0.0.1+10.0.0.2']);
});

it('a store that is down keeps no address out, and gets the facts as soon as it is back', async () => {
  isStoreUp = false;
  takeOver.watch();
  addresses = ['10.0.0.2'];
  await vi.advanceTimersByTimeAsync(10_000);
  expect(steps).toEqual(['announced 1:10.0.0.2', 'facts', 'used 1:10.0.0.2']);
  await vi.advanceTimersByTimeAsync(3000);
  expect(steps.slice(3)).toEqual(['facts', 'facts', 'facts']);
  isStoreUp = true;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(steps.slice(6)).toEqual(['facts']);
});

it('a reload while the store is down is in force, says so, and its facts follow', async () => {
  isStoreUp = false;
  await expect(takeOver.reload(OTHER)).rejects.toThrow(StoreUnavailableError);
  expect(steps).toEqual(['announced 7:10.0.0.1', 'facts', 'used 7:10.0.0.1']);
  isStoreUp = true;
  await vi.advanceTimersByTimeAsync(1000);
  expect(steps).toHaveLength(4);
});

it('reloads follow each other in their order, and old addresses never overtake them', async () => {
  takeOver.watch();
  addresses = ['10.0.0.2'];
  const refreshed = discovery.refresh();
  const reloads = [takeOver.reload(OTHER), takeOver.reload(WRITTEN)];
  await Promise.all([refreshed, ...reloads]);
  await vi.advanceTimersByTimeAsync(0);
  expect(steps.at(-1)).toBe('used 1:10.0.0.2');
  expect(steps.filter((step) => step.startsWith('used 7'))).toEqual(['used 7:10.0.0.2']);
  expect(steps.indexOf('used 7:10.0.0.2')).toBeLessThan(steps.lastIndexOf('used 1:10.0.0.2'));
});

it('nothing is taken over any more once it is stopped', async () => {
  isStoreUp = false;
  takeOver.watch();
  await takeOver.reload(OTHER).catch(() => {});
  takeOver.stop();
  addresses = ['10.0.0.9'];
  await vi.advanceTimersByTimeAsync(60_000);
  expect(steps).toHaveLength(3);
});
