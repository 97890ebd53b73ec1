import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import { DeadlineSweep } from '#gateway/deadline-sweep.ts';
import { type LeaseRequest, ReplicaSet, type Turn } from '#gateway/replica-set.ts';
import { type Lease, Upstream } from '#gateway/upstream.ts';
import { createVirtualClock, type VirtualClock } from '#test/support/virtual-clock.ts';
import { createDeploymentConfig, createUpstreamConfig } from './harness.ts';

let clock: VirtualClock;
let told: string[];
let set: ReplicaSet;
let members: Upstream[] = [];

/** Nothing here connects: an upstream opens its connections on its first request. */
function open(count: number, upstream: Partial<UpstreamConfig> = {}, overrides: Partial<DeploymentConfig> = {}): void {
  const configs = Array.from({ length: count }, (_, index) =>
    createUpstreamConfig('http://127.0.0.1:1', { name: `r${index}`, ...upstream }),
  );
  const deployment = createDeploymentConfig(configs, overrides);
  members = configs.map((config) => new Upstream(deployment, config));
  set = new ReplicaSet({
    clock,
    // Deadlines are expired by hand: no timer belongs to these tests.
    deadlines: new DeadlineSweep({ ...clock, toEpochMs: (ms) => ms }),
    listener: {
      ejected: ({ name }, forMs) => void told.push(`${name} ejected ${Math.floor(forMs / 1000)}`),
      restored: ({ name }) => void told.push(`${name} restored`),
    },
    random: () => 0,
  });
  set.update(deployment, members);
}

const WISH: LeaseRequest = { team: 'search', urgency: 'first', work: 100, prefix: null, excluded: new Set() };
const isLease = (found: Lease | Turn): found is Lease => 'upstream' in found;

function lease(wish: Partial<LeaseRequest> = {}): Lease {
  const found = set.acquire({ ...WISH, ...wish });
  if (!isLease(found)) throw new Error('expected an engine at once');
  return found;
}

function wait(wish: Partial<LeaseRequest> = {}): Turn {
  const found = set.acquire({ ...WISH, ...wish });
  if (isLease(found)) throw new Error('expected a wait');
  return found;
}

function refusalOf(wish: Partial<LeaseRequest> = {}): string {
  try {
    set.acquire({ ...WISH, ...wish });
  } catch (error) {
    return error instanceof GatewayError ? error.code : 'another error';
  }
  return 'none';
}

/** Fails so often in a row that a member is ejected. */
function eject(index: number): void {
  const excluded = new Set(members.filter((_, other) => other !== index));
  for (let failure = 0; failure < 3; failure += 1) {
    const one = lease({ excluded });
    one.failed();
    one.release();
  }
}

beforeEach(() => {
  clock = createVirtualClock();
  told = [];
});
afterEach(async () => {
  await Promise.all(members.map((member) => member.dispatcher.destroy()));
});

describe('a replica set', () => {
  it('counts work and requests until a lease is released, once', () => {
    open(1);
    const one = lease({ work: 70 });
    expect([members[0]?.inFlight, members[0]?.work]).toEqual([1, 70]);
    one.release();
    one.release();
    expect([members[0]?.inFlight, members[0]?.work]).toEqual([0, 0]);
  });

  it('keeps all further requests away from an engine on trial, however busy the others are', () => {
    open(2);
    eject(0);
    clock.advance(1300);
    const busy = [lease(), lease()];
    const trial = busy.find(({ upstream }) => upstream === members[0]);
    expect(trial).toBeDefined();
    for (let request = 0; request < 20; request += 1) expect(lease().upstream).toBe(members[1]);
    trial?.answered(200);
    expect(told).toEqual(['r0 ejected 1', 'r0 restored']);
    expect(lease().upstream).toBe(members[0]);
  });

  it('gives the trial to the next request when the one that had it ended without a verdict', () => {
    open(2);
    eject(0);
    clock.advance(1300);
    const leases = [lease(), lease()];
    leases.find(({ upstream }) => upstream === members[0])?.release();
    expect(set.acquire(WISH)).toMatchObject({ upstream: members[0] });
  });

  it('sends to ejected engines where there is no other, but not the retries', () => {
    open(2);
    eject(0);
    eject(1);
    expect(told).toEqual(['r0 ejected 1', 'r1 ejected 1']);
    expect(isLease(lease())).toBe(true);
    expect(set.hasOther(new Set(members.slice(0, 1)))).toBe(false);
    expect(refusalOf({ urgency: 'retry', excluded: new Set(members.slice(0, 1)) })).toBe('no_healthy_upstream');
    expect(set.isServing()).toBe(false);
  });

  it('never sends to an engine whose checks fail', () => {
    open(2);
    for (const member of members) member.healthy = false;
    expect(refusalOf()).toBe('no_healthy_upstream');
    (members[1] as Upstream).healthy = true;
    expect(lease().upstream).toBe(members[1]);
  });

  it('serves a waiting retry on an engine that has not failed it, before first attempts', async () => {
    open(2, { maxInFlight: 1 });
    const held = [lease(), lease()];
    const order: string[] = [];
    const first = wait();
    const retry = wait({ urgency: 'retry', excluded: new Set(members.slice(0, 1)) });
    void first.granted.then(({ upstream }) => order.push(`first ${upstream.name}`));
    void retry.granted.then(({ upstream }) => order.push(`retry ${upstream.name}`));
    held.find(({ upstream }) => upstream === members[1])?.release();
    await retry.granted;
    expect(order).toEqual(['retry r1']);
    held.find(({ upstream }) => upstream === members[0])?.release();
    await first.granted;
    expect(order).toEqual(['retry r1', 'first r0']);
    expect(set.queueLength).toBe(0);
  });

  it('lets no request overtake one that waits for the same engines', async () => {
    open(1, { maxInFlight: 1 });
    const held = lease();
    const turn = wait();
    held.release();
    const granted = await turn.granted;
    expect(wait()).toBeDefined();
    granted.release();
    expect(members[0]?.inFlight).toBe(1);
  });

  it('refuses at once with a queue of no places, and says when to come back by the last wait', async () => {
    open(1, { maxInFlight: 1 }, { queue: { size: 1, timeoutMs: 60_000 } });
    const held = lease();
    const turn = wait();
    clock.advance(7400);
    held.release();
    await turn.granted;
    wait();
    try {
      set.acquire(WISH);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 'overloaded', headers: { 'retry-after': '8', 'retry-after-ms': '7400' } });
    }
  });

  it('keeps no more bodies waiting than memory allows, whatever the queue’s size, and counts those that left', async () => {
    open(1, { maxInFlight: 1 });
    const MIB = 1024 * 1024;
    const held = lease();
    const turns = [1, 2, 3, 4].map(() => wait({ bytes: 64 * MIB }));
    expect(refusalOf({ bytes: 1 })).toBe('overloaded');
    expect(wait({ bytes: 0 })).toBeDefined();
    const left = turns[1]?.granted.catch((error: Error) => error.message);
    turns[1]?.leave(new Error('gone'));
    expect(await left).toBe('gone');
    turns.push(wait({ bytes: 64 * MIB }));
    expect(refusalOf({ bytes: 1 })).toBe('overloaded');
    held.release();
    await turns[0]?.granted;
    expect(wait({ bytes: 64 * MIB })).toBeDefined();
  });

  it('that is retired lets its engines go when the last one who waits was served', async () => {
    open(1, { maxInFlight: 1 });
    const held = lease();
    const turn = wait();
    set.retire();
    held.release();
    const granted = await turn.granted;
    const { dispatcher } = granted.upstream;
    expect([dispatcher as unknown as { closed: boolean }]).toMatchObject([{ closed: false }]);
    granted.release();
    expect([dispatcher as unknown as { closed: boolean }]).toMatchObject([{ closed: true }]);
  });

  it('is not told of a hang-up after its turn came: the lease is the caller’s to release', async () => {
    open(1, { maxInFlight: 1 });
    const held = lease();
    const turn = wait();
    held.release();
    turn.leave(new Error('gone'));
    (await turn.granted).release();
    expect([members[0]?.inFlight, set.queueLength]).toEqual([0, 0]);
  });
});
