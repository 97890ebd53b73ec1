import { defineConfig } from 'vitest/config';

// Four projects: what needs nothing (unit), what needs a store (contract), what needs the whole product (e2e),
// and what kills and pauses things (chaos). `npm run check` runs the first, `npm test` the first three and a short fourth.
const project = (name: string, options: { timeoutMs: number; parallel: boolean; workers?: number }) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: options.timeoutMs,
    hookTimeout: 120_000,
    fileParallelism: options.parallel,
    ...(options.workers === undefined ? {} : { maxWorkers: options.workers }),
    globalSetup: name === 'unit' ? [] : ['test/support/redis-server.ts'],
  },
});

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'architecture', include: ['test/*.test.ts'], testTimeout: 30_000 } },
      project('unit', { timeoutMs: 20_000, parallel: true }),
      project('contract', { timeoutMs: 60_000, parallel: false }),
      // Mostly waiting for windows to settle: two at a time keep CI short.
      project('e2e', { timeoutMs: 120_000, parallel: true, workers: 2 }),
    ],
  },
});
