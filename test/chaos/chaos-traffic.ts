// Clients of a schedule: streams and whole answers, some hung up on, against gateways that come and go. Keeps which answers came whole.
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, fetch } from 'undici';
import { createSeededRandom, mixSeed, type SeededRandom } from '#simulator/seeded-random.ts';
import { type ChaosStage, MODELS, TEAMS } from './chaos-stage.ts';
import type { ChaosSchedule } from './draw-schedule.ts';

export interface ChaosTraffic {
  /** Requests sent, whatever became of them. */
  readonly asked: number;
  /** Request ids of answers that their clients got to the last byte. */
  readonly whole: ReadonlySet<string>;
  readonly aborted: number;
  readonly failed: number;
}

/** The same while clients still ask. */
export interface Tally {
  asked: number;
  aborted: number;
  failed: number;
  readonly whole: Set<string>;
  /** Losses of the books that are not mended yet: until then clients ask on, even when their time is over. */
  held: number;
}

const ABORT_SHARE = 0.1;
/** A client that waits longer has lost its gateway to a pause or a cut. */
const PATIENCE_MS = 15_000;

export function createTally({ faults }: ChaosSchedule): Tally {
  const held = faults.filter(({ kind }) => kind === 'redis-lost').length;
  return { asked: 0, aborted: 0, failed: 0, whole: new Set(), held };
}

/** Runs the clients of a schedule for its time; resolves when each has its last answer. */
export async function runTraffic(stage: ChaosStage, schedule: ChaosSchedule, tally: Tally): Promise<void> {
  const agent = new Agent({ connections: null });
  const endsAtMs = performance.now() + schedule.trafficMs;
  const clients = Array.from({ length: schedule.clients }, async (_, index) => {
    const random = createSeededRandom(mixSeed(schedule.seed, schedule.index, index + 1));
    while (performance.now() < endsAtMs || tally.held > 0) {
      await ask(stage, { random, tally, agent });
      await sleep(random.exponential(30));
    }
  });
  await Promise.all(clients);
  await agent.destroy();
}

async function ask(
  { gateways, keys }: ChaosStage,
  { random, tally, agent }: { readonly random: SeededRandom; readonly tally: Tally; readonly agent: Agent },
): Promise<void> {
  const gateway = gateways[Math.floor(random.uniform() * gateways.length)];
  const team = TEAMS[Math.floor(random.uniform() * TEAMS.length)] ?? TEAMS[0];
  const model = MODELS[Math.floor(random.uniform() * MODELS.length)];
  const stream = random.uniform() < 0.6;
  const leavesAfterMs = random.uniform() < ABORT_SHARE ? random.exponential(150) : null;
  const content = `Question ${random.uniform()}: `.repeat(1 + Math.floor(random.uniform() * 20));
  const max_tokens = 2 + Math.floor(random.exponential(25));
  const hangUp = new AbortController();
  const timer = setTimeout(() => hangUp.abort(), leavesAfterMs ?? PATIENCE_MS);
  tally.asked += 1;
  try {
    const response = await fetch(`${gateway?.url}/v1/chat/completions`, {
      method: 'POST',
      signal: hangUp.signal,
      dispatcher: agent,
      headers: { authorization: `Bearer ${keys[team]}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, stream, max_tokens, ignore_eos: true, messages: [{ role: 'user', content }] }),
    });
    const text = await response.text();
    const isWhole = response.ok && (stream ? text.endsWith('data: [DONE]\n\n') : text.endsWith('}'));
    const id = response.headers.get('x-inferometer-request-id');
    if (isWhole && id !== null) tally.whole.add(id);
    else tally.failed += 1;
  } catch {
    if (leavesAfterMs !== null && hangUp.signal.aborted) tally.aborted += 1;
    else tally.failed += 1;
    // A gateway that is away refuses at once: as a client would, wait before asking again.
    await sleep(50);
  } finally {
    clearTimeout(timer);
  }
}
