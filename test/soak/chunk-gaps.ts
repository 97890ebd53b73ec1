// The rhythm of a stream: `node test/soak/chunk-gaps.ts [--chunks 1000] [--every 5] [--rounds 5] [--json]`, on an idle machine, about a minute.
// Exits 0 where the gateway changes gaps by no more than 1 ms at p99 beyond what the machine does without it, 1 where it does, 2 where the
// machine is too busy to tell.
import { parseArgs } from 'node:util';
import { type GapFigures, judgeChunkGaps } from './judge-chunk-gaps.ts';
import { runChunkGaps } from './run-chunk-gaps.ts';

const EXIT_CODES = { kept: 0, changed: 1, inconclusive: 2 } as const;

const { values } = parseArgs({
  options: {
    chunks: { type: 'string', default: '1000' },
    every: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
});
const judged = judgeChunkGaps(
  await runChunkGaps({
    chunks: Number(values.chunks),
    everyMs: Number(values.every),
    rounds: Number(values.rounds),
  }),
);
const render = (name: string, { gaps, p50Ms, p99Ms, maxMs, separateShare }: GapFigures): string => {
  const [p50, p99, max] = [p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(3).padStart(8));
  return `${name.padEnd(8)} ${String(gaps).padStart(7)} gaps  p50 ${p50} ms  p99 ${p99} ms  max ${max} ms  alone ${(separateShare * 100).toFixed(2)} %`;
};
const lines = [
  'Difference between the gaps that the engine made and those that the client saw:',
  render('direct', judged.direct),
  render('gateway', judged.through),
  `${judged.verdict.toUpperCase()}: ${judged.reason}`,
];
process.stdout.write(`${values.json ? JSON.stringify(judged, null, 2) : lines.join('\n')}\n`);
process.exitCode = EXIT_CODES[judged.verdict];
