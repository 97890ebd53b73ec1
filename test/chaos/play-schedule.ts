// Plays one schedule: starts the stage, lets things go wrong while clients ask, mends everything, waits for the books and checks them.
import { setTimeout as sleep } from 'node:timers/promises';
import { type BooksVerdict, checkBooks, type ExpectedBooks, isSettled } from './check-books.ts';
import { buildStage, type ChaosStage, readSegmentBytes } from './chaos-stage.ts';
import type { ChaosRedis } from './chaos-redis.ts';
import { createTally, runTraffic, type Tally } from './chaos-traffic.ts';
import type { ChaosSchedule, Fault } from './draw-schedule.ts';
import { loseBooks } from './lose-books.ts';

export interface ScheduleResult extends BooksVerdict {
  readonly schedule: ChaosSchedule;
  readonly asked: number;
  /** Answers that came whole. */
  readonly whole: number;
  readonly seconds: number;
  /** What the gateways printed last; shown when something broke. */
  readonly said: string;
}

const SETTLE_LIMIT_MS = 90_000;
const DRAIN_LIMIT_MS = 60_000;

/** Never rejects for what the schedule broke: that stands in `problems`. Rejects when the stage itself cannot be built. */
export async function playSchedule(schedule: ChaosSchedule): Promise<ScheduleResult> {
  const startedAtMs = performance.now();
  const stage = await buildStage(schedule);
  try {
    await Promise.all(stage.gateways.map((gateway) => gateway.process.start()));
    const problems: string[] = [];
    const traffic = createTally(schedule);
    const scene: Scene = { stage, schedule, traffic };
    await Promise.all([
      runTraffic(stage, schedule, traffic),
      ...schedule.faults.map((fault) => playFault(scene, fault, problems)),
    ]);
    await mend(stage);
    await settle(stage, { traffic, atRisk: schedule.atRisk }, problems);
    problems.push(...(await drain(stage, schedule)));
    const verdict = await checkBooks(stage, { traffic, atRisk: schedule.atRisk });
    return {
      ...verdict,
      problems: [...problems, ...verdict.problems],
      schedule,
      asked: traffic.asked,
      whole: traffic.whole.size,
      seconds: (performance.now() - startedAtMs) / 1000,
      said: stage.gateways.map((gateway, index) => `gateway ${index}:\n${gateway.process.said}`).join('\n'),
    };
  } finally {
    await stage.close();
  }
}

interface Scene {
  readonly stage: ChaosStage;
  readonly schedule: ChaosSchedule;
  readonly traffic: Tally;
}

async function playFault(scene: Scene, fault: Fault, problems: string[]): Promise<void> {
  await sleep(fault.atMs);
  try {
    await act(scene, fault);
  } catch (error) {
    problems.push(`${fault.kind}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function act({ stage, schedule, traffic }: Scene, fault: Fault): Promise<void> {
  switch (fault.kind) {
    case 'kill':
    case 'kill-supervisor':
    case 'kill-worker':
    case 'die':
    case 'pause':
    case 'restart':
    case 'disk-full':
    case 'clock-step':
      return await actOnGateway(stage, fault);
    case 'link':
      return await actOnLink(stage, fault);
    case 'redis-kill':
    case 'redis-pause':
    case 'redis-failover':
      return await stage.redis?.inTurn((redis) => actOnRedis(stage, redis, fault));
    case 'redis-lost':
      return await stage.redis?.inTurn((redis) => loseBooks({ stage, schedule, traffic, redis }, fault));
  }
}

async function actOnRedis(stage: ChaosStage, redis: ChaosRedis, { kind, forMs }: Fault): Promise<void> {
  if (kind === 'redis-kill') {
    await redis.kill();
    await sleep(forMs);
    await redis.restart();
  } else if (kind === 'redis-pause') {
    redis.pause();
    await sleep(forMs);
    redis.resume();
  } else {
    const port = await redis.failOver(forMs);
    for (const { storeLink } of stage.gateways) storeLink?.retarget(port);
  }
}

async function actOnGateway(stage: ChaosStage, fault: Extract<Fault, { gateway: number }>): Promise<void> {
  const gateway = stage.gateways[fault.gateway];
  if (gateway === undefined) return;
  const { process } = gateway;
  if (fault.kind === 'die') return await process.die();
  if (fault.kind === 'kill-worker') return await process.killWorker(fault.worker);
  if (fault.kind === 'kill') await process.kill();
  if (fault.kind === 'kill-supervisor') await process.killSupervisor();
  if (fault.kind === 'restart') await process.end(DRAIN_LIMIT_MS);
  if (fault.kind === 'pause') process.pause();
  if (fault.kind === 'disk-full') process.limitFiles(readSegmentBytes(gateway) + fault.bytesLeft);
  if (fault.kind === 'clock-step') process.stepClock(fault.stepMs);
  await sleep(fault.forMs);
  if (fault.kind === 'kill' || fault.kind === 'kill-supervisor' || fault.kind === 'restart') await process.start();
  if (fault.kind === 'pause') process.resume();
  if (fault.kind === 'disk-full') process.limitFiles(null);
  // A stepped clock stays where it is, as after a wrong NTP server, until `mend`.
}

async function actOnLink(stage: ChaosStage, fault: Extract<Fault, { kind: 'link' }>): Promise<void> {
  const link = fault.to === 'store' ? stage.gateways[fault.index]?.storeLink : stage.engineLinks[fault.index];
  if (link === null || link === undefined) return;
  if (fault.mode === 'reset') {
    link.reset();
    return;
  }
  link.setMode(fault.mode, fault.delayMs);
  await sleep(fault.forMs);
  link.setMode('pass');
}

async function mend(stage: ChaosStage): Promise<void> {
  for (const { process } of stage.gateways) {
    process.stepClock(0);
    await process.start();
  }
}

/** Waits until the books hold everything, past the gateways; a timeout is a problem, and the checks then say what is missing. */
async function settle(stage: ChaosStage, expected: ExpectedBooks, problems: string[]): Promise<void> {
  const store = stage.openStore();
  const endedAtMs = Date.now();
  const limitMs = performance.now() + SETTLE_LIMIT_MS;
  try {
    await store.settlement.open();
    while (!(await isSettled(store, expected, endedAtMs))) {
      if (performance.now() > limitMs) {
        problems.push(`the books were not settled within ${SETTLE_LIMIT_MS / 1000} s after everything was mended`);
        return;
      }
      await sleep(250);
    }
  } finally {
    await store.settlement.close();
  }
}

/** Ends the gateways as an operator does; whatever they leave behind is a problem, unless a full disk took it before. */
async function drain(stage: ChaosStage, { atRisk }: ChaosSchedule): Promise<string[]> {
  const living = stage.gateways.filter((gateway) => !gateway.process.isGone);
  const codes = await Promise.all(living.map((gateway) => gateway.process.end(DRAIN_LIMIT_MS)));
  const problems = codes.flatMap((code, index) =>
    code === 0 || (atRisk && code === 1) ? [] : [`gateway ${index} ended with ${code} when it was drained`],
  );
  const orphans = () => stage.gateways.flatMap((gateway) => gateway.process.orphans);
  const limitMs = performance.now() + DRAIN_LIMIT_MS;
  while (orphans().length > 0 && performance.now() < limitMs) await sleep(100);
  return [...problems, ...orphans().map((pid) => `worker process ${pid} outlived its supervisor`)];
}
