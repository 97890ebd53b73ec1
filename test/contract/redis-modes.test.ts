// Redis as it is really run, and run wrongly: TLS, an ACL user, a replica by mistake, a full memory, a slow network. Real servers all.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, expect, test, vi } from 'vitest';
import type { Log } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { openStore } from '#store/open-store.ts';
import { ENGINE_CERT, ENGINE_KEY } from '#test/support/engine-certificate.ts';
import { startRedis } from '#test/support/redis-server.ts';
import { reservePort } from '#test/support/reserve-port.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { TcpProxy } from '#test/support/tcp-proxy.ts';
import { optionsOf, settleOnce, SHAPE_PREFIX } from './settle-once.ts';
import { claimOf, freezeOf, JournalAuthor, recordAt } from './settlement-messages.ts';

const { folder } = new StorePlaces('tls');
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function startServer(...args: string[]) {
  const server = await startRedis(args);
  closers.push(() => server.stop());
  const admin = new Redis(server.url);
  closers.push(() => admin.disconnect());
  return { ...server, admin };
}

async function startTlsServer(...args: string[]) {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  writeFileSync(cert, ENGINE_CERT);
  writeFileSync(key, ENGINE_KEY);
  const port = await reservePort();
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert];
  await startServer('--tls-port', String(port), ...files, ...args);
  return `rediss://127.0.0.1:${port}`;
}

test('over TLS with an authority of its own; without it the server is refused', async () => {
  const url = await startTlsServer('--tls-auth-clients', 'no');
  await settleOnce(url, { tls: { ca: ENGINE_CERT, cert: '', key: '', serverName: 'engine.test' } });
  await expect(settleOnce(url)).rejects.toThrow(StoreUnavailableError);
  const otherName = { ca: ENGINE_CERT, cert: '', key: '', serverName: 'other.test' };
  await expect(settleOnce(url, { tls: otherName })).rejects.toThrow(StoreUnavailableError);
});

test('over TLS with a client certificate, which the server asks for', async () => {
  const url = await startTlsServer('--tls-auth-clients', 'yes');
  const tls = { ca: ENGINE_CERT, cert: ENGINE_CERT, key: ENGINE_KEY, serverName: 'engine.test' };
  await settleOnce(url, { tls });
  await expect(settleOnce(url, { tls: { ...tls, cert: '', key: '' } })).rejects.toThrow(StoreUnavailableError);
});

test('as an ACL user with the rights the README names; with fewer, the refusal says which', async () => {
  const rights = `~${SHAPE_PREFIX}:* -@all +@read +@write +@scripting +@connection -@dangerous +time +info +config|get`;
  const { port, admin } = await startServer();
  await admin.call('ACL', 'SETUSER', 'gateway', 'on', '>s3cret%', ...rights.split(' '));
  await admin.call('ACL', 'SETUSER', 'stranger', 'on', '>s3cret%', ...rights.replace(SHAPE_PREFIX, 'other').split(' '));
  await settleOnce(`redis://gateway:s3cret%25@127.0.0.1:${port}/0`);
  const refused = settleOnce(`redis://stranger:s3cret%25@127.0.0.1:${port}/0`);
  await expect(refused).rejects.toThrow(/NOPERM/);
  await expect(refused).rejects.not.toThrow(/s3cret/);
});

test('a replica by mistake is said once, and followed as soon as it is the master', async () => {
  const master = await startServer();
  const replica = await startServer('--replicaof', '127.0.0.1', String(master.port));
  await expect.poll(() => replica.admin.info('replication'), { timeout: 20_000 }).toContain('master_link_status:up');
  const error = vi.fn();
  const log = { debug() {}, info() {}, warn() {}, error } satisfies Log;
  const { settlement } = openStore({ ...optionsOf(replica.url), log });
  closers.push(() => settlement.close());
  for (let tries = 0; tries < 3; tries += 1) await expect(settlement.open()).rejects.toThrow(StoreUnavailableError);
  await expect.poll(() => settlement.open().catch(String), { timeout: 20_000 }).toMatch(/READONLY|no connection/);
  const said = error.mock.calls.filter(([, words]) => String(words).includes('read-only replica'));
  expect(said).toHaveLength(1);
  await replica.admin.replicaof('NO', 'ONE');
  await expect.poll(() => settlement.open().catch(String), { timeout: 20_000 }).toHaveProperty('epoch');
});

test('memory that is full with noeviction: nothing is half written, the message is applied once there is room', async () => {
  const { url, admin } = await startServer('--maxmemory-policy', 'noeviction');
  const { settlement, books } = openStore(optionsOf(url));
  closers.push(() => settlement.close());
  const author = new JournalAuthor((await settlement.open()).epoch);
  const joined = await settlement.join(author);
  const at = joined.frontier ?? 0;
  const commit = freezeOf(await settlement.readFreezeInput(), at + 1, { [author.journal]: 5n });
  expect(await settlement.commitFreeze(commit)).toBe('committed');
  const seen = await settlement.sync(author.next({ sealedThrough: at }));
  const claim = claimOf(seen, { records: [recordAt(joined.nowMs)] });
  const message = author.next({ sealedThrough: at, claim });
  const keysBefore = await dump(admin);
  await admin.config('SET', 'maxmemory', '1mb');
  await expect(settlement.sync(message)).rejects.toThrow(/OOM/);
  const next = freezeOf(await settlement.readFreezeInput(), at + 2, { [author.journal]: 6n });
  await expect(settlement.commitFreeze(next)).rejects.toThrow(/OOM/);
  expect(await dump(admin)).toEqual(keysBefore);
  await admin.config('SET', 'maxmemory', '0');
  expect(await settlement.sync(message)).toMatchObject({ status: 'ok', claimApplied: true });
  expect(await settlement.sync(message)).toMatchObject({ status: 'already', claimApplied: true });
  expect((await books.readRecords({ limit: 5 })).records).toHaveLength(1);
});

test('every script works through a network that takes 200 ms there and back', async () => {
  const { port } = await startServer();
  const proxy = await TcpProxy.start(port);
  closers.push(() => proxy.close());
  proxy.setMode('delay', 100);
  await settleOnce(`redis://127.0.0.1:${proxy.port}`, { timeoutMs: 50 });
});

/** Every key with its serialised value: what a refused script must not have changed. */
async function dump(admin: Redis): Promise<Record<string, string>> {
  const keys = await admin.keys('*');
  const values = await Promise.all(keys.map((key) => admin.dumpBuffer(key)));
  return Object.fromEntries(keys.map((key, index) => [key, values[index]?.toString('hex') ?? '']).toSorted());
}
