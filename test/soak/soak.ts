// The soak: `node test/soak/soak.ts [--minutes 10] [--streams 500] [--seed 1] [--restart-every 20]`. Exits 1 where a promise was broken.
import { parseArgs } from 'node:util';
import { runSoak } from './run-soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    streams: { type: 'string', default: '500' },
    seed: { type: 'string', default: '1' },
    'restart-every': { type: 'string', default: '20' },
  },
});
const streams = Number(values.streams);
const result = await runSoak({
  seconds: Number(values.minutes) * 60,
  streams,
  seed: Number(values.seed),
  restartEverySeconds: Number(values['restart-every']),
  onProgress: ({ at, descriptors, residentBytes }, requests) => {
    if (Math.round(at) % 10 === 0)
      process.stderr.write(
        `${Math.round(at)} s, ${requests} requests, ${descriptors} descriptors, ${Math.round(residentBytes / 1e6)} MB\n`,
      );
  },
});
process.stdout.write(`${JSON.stringify({ ...result, problems: result.problems.slice(0, 20) }, null, 2)}\n`);
const isFlat = result.descriptorsAfter <= result.descriptorsBefore + 20 && result.residentBytesPerMinute < 8e6;
process.exitCode = result.problems.length === 0 && isFlat ? 0 : 1;
