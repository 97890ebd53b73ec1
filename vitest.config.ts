import { defineConfig } from 'vitest/config';

// What needs nothing (unit), whole parts under random schedules on virtual time (model), what needs a store (contract), what needs the whole
// product, killed and paused things among it (e2e). `npm run check` runs the first, `npm test` all.
const project = (
  name: string,
  options: { timeoutMs: number; parallel: boolean; workers?: number | string; isolate?: boolean },
) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: options.timeoutMs,
    hookTimeout: 120_000,
    fileParallelism: options.parallel,
    isolate: options.isolate ?? true,
    ...(options.workers === undefined ? {} : { maxWorkers: options.workers }),
    globalSetup: [
      'test/support/temporary-folder.ts',
      ...(name === 'unit' || name === 'model' ? [] : ['test/support/redis-server.ts']),
    ],
  },
});

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'architecture', include: ['test/*.test.ts'], testTimeout: 30_000 } },
      // Files share their modules: loading those anew for each took as long as the tests.
      project('unit', { timeoutMs: 20_000, parallel: true, workers: '100%', isolate: false }),
      project('model', { timeoutMs: 60_000, parallel: true, workers: '100%' }),
      project('contract', { timeoutMs: 60_000, parallel: false }),
      // Mostly waiting for windows to settle: two at a time keep CI short.
      project('e2e', { timeoutMs: 120_000, parallel: true, workers: 2 }),
    ],
  },
});
