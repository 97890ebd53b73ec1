// `npm run bench:attribution`: how fair every request's charge is, against engines whose truth is known. Not here: any measurement (attribution/).
import { Command } from 'commander';
import { failsRun } from './attribution/accuracy-targets.ts';
import { engineShapes, findEngineShape } from './attribution/engine-shapes.ts';
import { loadNames } from './attribution/loads.ts';
import { renderJson, renderTables, renderVerdict } from './attribution/render-scores.ts';
import { type Cell, runMatrix, watcherKinds } from './attribution/run-matrix.ts';

const command = new Command('bench:attribution')
  .description('Charges against the truth of simulated engines on virtual time: loads × watchers × profile sources.')
  .option('--engine <name>', `one of ${engineShapes.map((shape) => shape.name).join(', ')}, or all`, 'roofline-8b')
  .option('--load <name>', `only this load, one of: ${loadNames.join('; ')}`)
  .option('--seed <number>', 'seed of the traffic', Number, 21)
  .option('--quick', 'one busy load, one process and three with one killed')
  .option('--json', 'print JSON instead of tables')
  .parse();
const options = command.opts<{ engine: string; load?: string; seed: number; quick?: true; json?: true }>();
if (options.load !== undefined && !loadNames.includes(options.load)) command.error(`no load "${options.load}"`);

const shapes = options.engine === 'all' ? engineShapes : [findEngineShape(options.engine)];
const cells: Cell[] = [];
for (const shape of shapes) {
  const load = options.load ?? (options.quick === true ? '80% throughput' : undefined);
  const some = options.quick === true ? watcherKinds.filter(({ name }) => !name.includes('3 processes')) : watcherKinds;
  cells.push(
    ...(await runMatrix({
      shape,
      seed: options.seed,
      watchers: some,
      ...(load === undefined ? {} : { loads: [load] }),
      onCell: (cell) => process.stderr.write(`  ${cell.engine}, ${cell.load}, ${cell.watchers}, ${cell.method}\n`),
    })),
  );
}
process.stdout.write(
  options.json === true ? `${renderJson(cells)}\n` : `${renderTables(cells)}\n\n${renderVerdict(cells)}\n`,
);
process.exitCode = cells.some(failsRun) ? 1 : 0;
