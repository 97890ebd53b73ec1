// Ten thousand hang-ups: `node test/soak/aborts.ts [--aborts 10000] [--concurrency 20] [--warm-up 20000]`. Exits 1 where anything is left behind.
import { parseArgs } from 'node:util';
import { runAborts } from './run-aborts.ts';

const { values } = parseArgs({
  options: {
    aborts: { type: 'string', default: '10000' },
    concurrency: { type: 'string', default: '20' },
    'warm-up': { type: 'string', default: '20000' },
  },
});
const result = await runAborts({
  aborts: Number(values.aborts),
  concurrency: Number(values.concurrency),
  warmUp: Number(values['warm-up']),
  onProgress: (done, { descriptors, residentBytes }) =>
    process.stderr.write(`${done} aborts, ${descriptors} descriptors, ${Math.round(residentBytes / 1e6)} MB\n`),
});
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
const isClean =
  result.countedAll === result.aborts &&
  result.inFlight === 0 &&
  result.openAtEngine === 0 &&
  result.descriptorsAfter <= result.descriptorsBefore + 10 &&
  result.residentBytesPerAbort < 4096 &&
  result.letGoMs.p99 < 100;
process.exitCode = isClean ? 0 : 1;
