// The settlement model over a real store: `node test/soak/settlement-schedules.ts [--schedules 2000] [--store redis|sqlite|memory] [--seed 1]`.
// Redis: REDIS_URL, or a server of its own. Exits 1 where a request's money differs from the world without faults; the seed repeats it.
import { parseArgs } from 'node:util';
import { drawProgress } from '#src/commands/draw-progress.ts';
import { startRedis } from '#test/support/redis-server.ts';
import { runSchedules } from '#test/support/run-schedules.ts';
import { openStoreFarm, type StoreKind } from '#test/support/scheduled-stores.ts';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '2000' },
    store: { type: 'string', default: 'redis' },
    seed: { type: 'string', default: '1' },
  },
});
const kinds: readonly StoreKind[] = ['redis', 'sqlite', 'memory'];
const kind = kinds.find((known) => known === values.store);
const schedules = Number(values.schedules);
if (kind === undefined || !Number.isInteger(schedules) || schedules < 1 || !Number.isInteger(Number(values.seed))) {
  process.stderr.write('settlement-schedules: --store redis|sqlite|memory, --schedules and --seed whole numbers\n');
  process.exit(2);
}
const given = process.env['REDIS_URL'];
const server = kind === 'redis' && given === undefined ? await startRedis() : undefined;
const farm = openStoreFarm(kind, given ?? server?.url);
const progress = drawProgress(`schedules on ${kind}`, process.stderr.isTTY);
const startedMs = performance.now();
try {
  const result = await runSchedules({
    farm,
    schedules,
    seed: Number(values.seed),
    onDone: (done, { lateWindows, problems }) =>
      progress.update(done / schedules, `${done}/${schedules}, ${lateWindows} late, ${problems.length} problems`),
  });
  progress.stop();
  const { problems, ...figures } = result;
  const shown = { store: kind, ...figures, differenceNanoUsd: String(figures.differenceNanoUsd) };
  process.stdout.write(`${JSON.stringify({ ...shown, problems: problems.slice(0, 20) }, null, 2)}\n`);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  process.stdout.write(
    `${figures.schedules} schedules, ${figures.requests} requests, ${figures.lateWindows} late windows, difference ${figures.differenceNanoUsd} nanodollars, ${seconds} s: ${problems.length === 0 ? 'exact' : `${problems.length} problems`}\n`,
  );
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  await farm.close();
  await server?.stop();
}
