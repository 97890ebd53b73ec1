import { afterEach, describe, expect, it } from 'vitest';
import type { Config } from '#config/config.ts';
import { createAddressFilter } from '#gateway/authenticate.ts';
import { sendRaw } from '#test/support/raw-http.ts';
import {
  ADS_KEY,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  SEARCH_KEY,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness;
afterEach(() => harness.close());

const start = async (tenancy: Partial<Config['tenancy']>): Promise<void> => {
  harness = await startHarness((url) =>
    createConfig([createDeploymentConfig([createUpstreamConfig(url)])], { tenancy }),
  );
};
const team = () => harness.metering.records.at(-1)?.team;

describe('authenticate', () => {
  it('a key counts as bearer token, in any spelling of the scheme, or as x-api-key', async () => {
    await start({});
    for (const headers of [
      { authorization: `Bearer ${SEARCH_KEY}` },
      { authorization: `bearer ${SEARCH_KEY}` },
      { 'x-api-key': SEARCH_KEY },
    ]) {
      expect((await send(harness.port, { key: null, headers })).status).toBe(200);
      expect(team()).toBe('search');
    }
    const [first, ...others] = harness.metering.records.map(({ keyId }) => keyId);
    expect(first).toMatch(/^k_[0-9a-f]{16}$/);
    expect(new Set(others)).toEqual(new Set([first]));
    expect(JSON.stringify(harness.metering.records)).not.toContain(SEARCH_KEY);
  });

  it('the team header names the team behind a trusted proxy, and unknown teams are refused', async () => {
    await start({ authentication: ['header'], header: { name: 'x-team', trustedProxies: ['127.0.0.0/8', '::1'] } });
    expect((await send(harness.port, { key: null, headers: { 'x-team': 'search' } })).status).toBe(200);
    expect(harness.metering.records).toMatchObject([{ team: 'search', keyId: null, project: null }]);
    for (const headers of [{ 'x-team': 'nobody' }, {}]) {
      const answer = await send(harness.port, { key: null, headers });
      expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([401, 'unknown_team']);
    }
    expect(harness.engine.requests[0]?.headers['x-team']).toBeUndefined();
  });

  it('the team header may name a team in UTF-8, as proxies write it, and two such headers name nobody', async () => {
    harness = await startHarness((url) => {
      const config = createConfig([createDeploymentConfig([createUpstreamConfig(url)])], {
        tenancy: { authentication: ['header'] },
      });
      return {
        ...config,
        teams: config.teams.map((team) => ({ ...team, name: team.name === 'ads' ? '検索' : 'Büro' })),
      };
    });
    const ask = async (...names: readonly string[]): Promise<string> => {
      const body = JSON.stringify({ model: 'gemma', messages: [] });
      const head = names.map((name) => `x-team: ${name}\r\n`).join('');
      return sendRaw(
        harness.port,
        Buffer.from(
          `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${head}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        ),
      );
    };
    await ask('検索');
    expect(harness.metering.records.map((record) => record.team)).toEqual(['検索']);
    await ask('Büro');
    expect(team()).toBe('Büro');
    expect(await ask('検索', 'Büro')).toContain('unknown_team');
    expect(harness.metering.records).toHaveLength(2);
  });

  it('from an address that is not trusted the team header is dropped', async () => {
    await start({ authentication: ['header'], header: { name: 'x-team', trustedProxies: ['10.0.0.0/8'] } });
    expect((await send(harness.port, { key: null, headers: { 'x-team': 'search' } })).status).toBe(401);
  });

  it('a request without identity is the anonymous team, but a wrong key never is', async () => {
    await start({ authentication: ['keys', 'header'], anonymous: 'search' });
    expect((await send(harness.port, { key: null })).status).toBe(200);
    expect(team()).toBe('search');
    expect((await send(harness.port, { key: 'sk-wrong-0123456789' })).status).toBe(401);
    expect((await send(harness.port, { key: 'sk-wrong-0123456789', headers: { 'x-team': 'search' } })).status).toBe(
      401,
    );
  });

  it('methods are tried in order: a key before the header', async () => {
    await start({ authentication: ['keys', 'header'] });
    await send(harness.port, { key: ADS_KEY, headers: { 'x-team': 'search' } });
    expect(team()).toBe('ads');
  });

  it('addresses match blocks and single addresses of their own kind, mapped IPv4 included', async () => {
    await start({});
    const mapped = ['::ffff:172.16.0.0/108', '::ffff:192.168.9.9'];
    const matches = createAddressFilter(['10.1.0.0/16', '::1', 'fd00::/8', '192.168.7.7', ...mapped]);
    const trusted = [
      '10.1.2.3',
      '::ffff:10.1.2.3',
      '::1',
      'fd12::1',
      '192.168.7.7',
      '172.31.0.1',
      '::ffff:192.168.9.9',
    ];
    const foreign = ['10.2.0.1', '::2', 'fe80::1', '192.168.7.8', '172.32.0.1', '192.168.9.8', 'nonsense', undefined];
    expect(trusted.filter((address) => !matches(address))).toEqual([]);
    expect(foreign.filter((address) => matches(address))).toEqual([]);
  });
});
