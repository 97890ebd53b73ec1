// A worker's end of the channel, in a process of its own.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

/** Speaks once more when its supervisor has gone and it could not notice yet. */
const WORKER = `
  import { WorkerChannel } from '${join(import.meta.dirname, '../../../src/workers/worker-channel.ts')}';
  const channel = new WorkerChannel(process);
  channel.draining.then((reason) => process.exit(reason === 'orphaned' ? 7 : 1));
  await channel.started;
  const untilMs = performance.now() + 300;
  while (performance.now() < untilMs);
  channel.send({ t: 'report', report: {} });
`;

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'channel-'))));
afterEach(() => rmSync(folder, { recursive: true }));

it('a worker whose supervisor died in the middle of its work drains, though it speaks to nobody', async () => {
  const entry = join(folder, 'worker.mjs');
  writeFileSync(entry, WORKER);
  const worker = fork(entry, { serialization: 'advanced', stdio: 'ignore', execArgv: [] });
  await once(worker, 'message');
  worker.send({ t: 'start', config: {}, version: '0' });
  // Sent, then gone.
  setTimeout(() => worker.disconnect(), 100);
  expect(await once(worker, 'exit')).toEqual([7, null]);
});
