// The rhythm of a stream: `node test/soak/chunk-gaps.ts [--chunks 2000] [--every 5]`, on an idle machine. Exits 1 where the gateway changes a
// gap by more than 1 ms at p99 beyond what the machine itself does without it.
import { parseArgs } from 'node:util';
import { runChunkGaps } from './run-chunk-gaps.ts';

const { values } = parseArgs({
  options: { chunks: { type: 'string', default: '2000' }, every: { type: 'string', default: '5' } },
});
const { direct, through } = await runChunkGaps({ chunks: Number(values.chunks), everyMs: Number(values.every) });
process.stdout.write(`${JSON.stringify({ direct, through }, null, 2)}\n`);
process.exitCode = through.p99Ms - direct.p99Ms <= 1 && through.separate >= direct.separate * 0.99 ? 0 : 1;
