// Malformed requests by the thousand: `node test/soak/fuzz-http.ts [--cases 10000] [--seed 1] [--concurrency 50]`; one of them again, with
// its bytes and answer: `--seed 1 --case 4711`. Exits 1 where a promise was broken.
import { parseArgs } from 'node:util';
import { runFuzz } from './run-fuzz.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    case: { type: 'string' },
    concurrency: { type: 'string', default: '50' },
  },
});
const one = values.case === undefined ? undefined : Number(values.case);
const result = await runFuzz({
  seed: Number(values.seed),
  first: one ?? 0,
  cases: one === undefined ? Number(values.cases) : 1,
  concurrency: Number(values.concurrency),
  onProgress: (done, residentBytes) => {
    if (one === undefined) process.stderr.write(`${done} cases, ${Math.round(residentBytes / 1e6)} MB\n`);
  },
  ...(one === undefined
    ? {}
    : {
        onCase: ({ fuzzCase, text }) => {
          for (const piece of fuzzCase.pieces) process.stdout.write(`> ${JSON.stringify(piece.toString('latin1'))}\n`);
          process.stdout.write(`< ${JSON.stringify(text)}\n`);
        },
      }),
});
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
const isBounded =
  result.residentBytesAfter < result.residentBytesBefore + 200e6 &&
  result.descriptorsAfter <= result.descriptorsBefore + 20;
process.exitCode = result.problems.length === 0 && isBounded ? 0 : 1;
