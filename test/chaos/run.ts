// The chaos suite: `npm run test:chaos [-- --schedules N --seed S --only K,K --faults KIND,KIND --parallel P]`. Exits 1 where a promise was broken.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { describeFault } from './draw-schedule.ts';
import type { ScheduleResult } from './play-schedule.ts';
import { chooseSchedules, runSchedules } from './run-schedules.ts';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    faults: { type: 'string' },
    parallel: { type: 'string', default: String(Math.max(1, Math.min(4, availableParallelism()))) },
    verbose: { type: 'boolean', default: false },
  },
});
// Everything started here is ended when this process exits, which a signal alone would not make it do.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const seed = Number(values.seed);
const count = Number(values.schedules);
const indices = values.only?.split(',').map(Number) ?? chooseSchedules(seed, count, values.faults?.split(','));

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function report(result: ScheduleResult, done: number): void {
  const { schedule, problems, whole, asked, records, seconds } = result;
  const state = problems.length === 0 ? 'ok' : 'BROKEN';
  const processes = schedule.workers > 1 ? `, ${schedule.workers} workers` : '';
  const traits = `${schedule.sharedHost ? ' on one host' : ''}${processes}${schedule.atRisk ? ', at risk' : ''}`;
  const scene = `${schedule.topology}${traits}, horizon ${schedule.horizon}, silence ${schedule.silence}, fsync ${schedule.fsync}`;
  say(
    `[${done}/${indices.length}] schedule ${schedule.index} ${state}: ${scene}; ${whole} of ${asked} answers whole, ${records} records, ${seconds.toFixed(1)} s`,
  );
  if (problems.length === 0 && !values.verbose) return;
  for (const fault of schedule.faults) say(`    ${describeFault(fault)}`);
  for (const problem of problems.slice(0, 12)) say(`    ! ${problem}`);
  if (problems.length > 0) say(`    replay: npm run test:chaos -- --seed ${schedule.seed} --only ${schedule.index}`);
  if (values.verbose || problems.length > 0) say(result.said.split('\n').slice(-60).join('\n'));
}

const summary = await runSchedules({ seed, indices, parallel: Number(values.parallel), onResult: report });
for (const problem of summary.problems) say(`! ${problem}`);
const faults = Object.entries(summary.faults).map(([kind, times]) => `${kind} ${times}`);
say(`faults: ${faults.toSorted().join(', ')}`);
say(
  `seed ${seed}: schedules ${summary.schedules}, requests ${summary.requests} (${summary.completed} whole, ${summary.records} records), ` +
    `lost ${summary.lost}, doubled ${summary.doubled}, token difference ${summary.tokenDifference}, difference ${summary.differenceNanoUsd} nanodollars`,
);
// What a broken schedule may have left running ends with this process.
process.exit(summary.problems.length === 0 && summary.schedules === indices.length ? 0 : 1);
