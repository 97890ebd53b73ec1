// The short form of `node test/bench/books.ts`: what settlement asks of Redis does not grow with requests. The benchmark has the figures.
import { expect, it } from 'vitest';
import { measureOperations } from '#test/bench/books/measure-operations.ts';

it('ten times the requests of the same tenants ask no more of Redis; ten times the tenants do', async () => {
  const seconds = 6;
  const few = await measureOperations({ gateways: 1, tenants: 5, requestsPerSecond: 20, seconds });
  const many = await measureOperations({ gateways: 1, tenants: 5, requestsPerSecond: 200, seconds });
  const wide = await measureOperations({ gateways: 1, tenants: 50, requestsPerSecond: 200, seconds });
  expect(few.requests).toBeGreaterThan(60);
  expect(many.requests).toBeGreaterThan(5 * few.requests);
  expect(few.commandsPerSecond).toBeGreaterThan(50);
  expect(many.commandsPerSecond).toBeLessThan(1.3 * few.commandsPerSecond);
  expect(many.callsPerSecond).toBeLessThan(10);
  expect(wide.commandsPerSecond).toBeGreaterThan(2 * many.commandsPerSecond);
});
