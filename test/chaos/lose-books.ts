// Redis loses the books: gateways notice and serve on without posting, then the operator runs `ledger rebuild` beside them. Not here: other faults.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCli } from '#test/support/run-cli.ts';
import type { ChaosRedis } from './chaos-redis.ts';
import type { ChaosStage } from './chaos-stage.ts';
import type { Tally } from './chaos-traffic.ts';
import type { ChaosSchedule, Fault } from './draw-schedule.ts';

export interface LossScene {
  readonly stage: ChaosStage;
  readonly schedule: ChaosSchedule;
  readonly traffic: Tally;
  readonly redis: ChaosRedis;
}

/** Other faults may hold a gateway up for seconds, and starts take seconds on a busy machine. */
const FREEZE_LIMIT_MS = 40_000;
/** The gateway that made the last of them may die before its journal says that it was made. */
const FREEZES_MIN = 2;
const NOTICE_LIMIT_MS = 40_000;
const SERVE_LIMIT_MS = 40_000;
const REBUILD_LIMIT_MS = 60_000;

/** Resolves once the books are back; rejects with the promise that was broken. */
export async function loseBooks(scene: LossScene, fault: Extract<Fault, { kind: 'redis-lost' }>): Promise<void> {
  const { stage, traffic, redis } = scene;
  try {
    await awaitFreezes(stage);
    await redis.lose(fault.how);
    for (const index of stage.gateways.keys()) await awaitNotice(stage, index);
    await awaitServing(scene);
    await sleep(fault.forMs);
    await rebuild(scene);
  } finally {
    traffic.held -= 1;
  }
}

/** Books are rebuilt from their freezes: those of a gateway's first seconds, which have none yet, cannot be. */
async function awaitFreezes(stage: ChaosStage): Promise<void> {
  const store = stage.openStore();
  const limitMs = performance.now() + FREEZE_LIMIT_MS;
  try {
    await store.settlement.open();
    while ((await store.settlement.readFreezeInput()).k < FREEZES_MIN) {
      if (performance.now() > limitMs) throw new Error('no window was frozen before the books were to be lost');
      await sleep(50);
    }
  } finally {
    await store.settlement.close();
  }
}

/** It says so itself, where it is not gone for good. */
async function awaitNotice({ gateways }: ChaosStage, index: number): Promise<void> {
  const gateway = gateways[index];
  if (gateway === undefined) return;
  const limitMs = performance.now() + NOTICE_LIMIT_MS;
  for (let said = ''; !said.includes('ledger rebuild') && !gateway.process.isGone; await sleep(100)) {
    said = await readStoreCheck(gateway.adminUrl).catch(String);
    if (performance.now() > limitMs)
      throw new Error(`gateway ${index} has not noticed that the books are gone; its store check: ${said}`);
  }
}

async function readStoreCheck(adminUrl: string): Promise<string> {
  const response = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(2000) });
  const answer = (await response.json()) as { readonly checks?: { readonly store?: string } };
  return answer.checks?.store ?? 'none';
}

/** One more whole answer than there are clients: at least one was asked for when all had noticed. */
async function awaitServing({ schedule, traffic }: LossScene): Promise<void> {
  const wanted = traffic.whole.size + schedule.clients + 1;
  const limitMs = performance.now() + SERVE_LIMIT_MS;
  while (traffic.whole.size < wanted) {
    if (performance.now() > limitMs) throw new Error('nothing was served while the books were gone');
    await sleep(50);
  }
}

/** With the operator's own way to Redis: links between gateways and store may be cut. */
async function rebuild({ stage, redis }: LossScene): Promise<void> {
  const path = join(stage.dataDir, 'rebuild.yaml');
  const config = JSON.parse(readFileSync(stage.gateways[0]?.configPath ?? '', 'utf8')) as { store: object };
  const store = { ...config.store, url: `redis://127.0.0.1:${redis.port}`, timeout: '5s' };
  writeFileSync(path, JSON.stringify({ ...config, store }));
  const journals = new Set(stage.gateways.map(({ journalDir }) => journalDir));
  const folders = [...journals].flatMap((dir) => ['--journal', dir]);
  const args = ['ledger', 'rebuild', '--json', ...folders, '--config', path];
  const { code, out, err } = await runCli(args, { limitMs: REBUILD_LIMIT_MS });
  if (code !== 0) throw new Error(`ledger rebuild ended with ${code}: ${err}${out}`);
  const { complete, missingJournals } = JSON.parse(out) as { complete: boolean; missingJournals: readonly string[] };
  if (!complete || missingJournals.length > 0) throw new Error(`ledger rebuild did not find everything: ${out}`);
}
