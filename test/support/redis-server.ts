// The real Redis of the contract and end-to-end tests: REDIS_URL, or a server of our own on a free loopback port, ended by its pid.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { TestProject } from 'vitest/node';
import { findFreePort } from '#src/demo/free-port.ts';
import { ensureDebianProgram } from '#test/support/install-debian.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** `redis://…` of a server every test may use under a prefix of its own; never flushed. */
    redisUrl: string;
  }
}

export interface RedisServer {
  readonly url: string;
  readonly pid: number;
  readonly port: number;
  /** Stops the server where it stands: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  /** Kills it; nothing is kept unless the arguments of `startRedis` say so. */
  stop(): Promise<void>;
}

/** vitest's globalSetup: provides `redisUrl`; returns what ends the server it started. */
export default async function setUpRedis(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env['REDIS_URL'];
  if (given !== undefined && given !== '') {
    project.provide('redisUrl', given);
    return undefined;
  }
  const server = await startRedis();
  project.provide('redisUrl', server.url);
  return () => server.stop();
}

/** A redis-server of its own on a free loopback port, without persistence unless `extraArgs` ask for it; `port` to start again on the same;
 * `sentinelFile`: a sentinel with that configuration instead. */
export async function startRedis(
  extraArgs: readonly string[] = [],
  port?: number,
  sentinelFile?: string,
): Promise<RedisServer> {
  const program = ensureDebianProgram({ command: 'redis-server', debianPackage: 'redis-server' });
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-redis-'));
  const chosen = port ?? (await findFreePort());
  const address = ['--port', String(chosen), '--bind', '127.0.0.1', '--dir', folder];
  const kept = sentinelFile === undefined ? ['--save', '', '--appendonly', 'no'] : ['--sentinel'];
  const file = sentinelFile === undefined ? [] : [sentinelFile];
  const child = spawn(program, [...file, ...address, ...kept, ...extraArgs], { stdio: 'ignore' });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${program} did not start`);
  const killWithUs = () => child.kill('SIGKILL');
  process.once('exit', killWithUs);
  const url = `redis://127.0.0.1:${chosen}`;
  await awaitAnswer(url, child);
  return {
    url,
    pid,
    port: chosen,
    pause: () => process.kill(pid, 'SIGSTOP'),
    resume: () => process.kill(pid, 'SIGCONT'),
    stop: async () => {
      process.removeListener('exit', killWithUs);
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function awaitAnswer(url: string, child: ChildProcess): Promise<void> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null });
  redis.on('error', () => {
    // It is still starting.
  });
  try {
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`redis-server ended with code ${code} while starting`);
    });
    await Promise.race([redis.ping(), ended]);
  } finally {
    redis.disconnect();
  }
}
