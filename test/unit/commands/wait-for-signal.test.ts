import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { waitForSignal } from '#src/commands/wait-for-signal.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('the same word heard again within a second does not end the process that drains; a later one does', async () => {
  const before = process.listenerCount('SIGUSR2');
  const heard = waitForSignal(['SIGUSR2']);
  process.emit('SIGUSR2', 'SIGUSR2');
  expect(await heard).toBe('SIGUSR2');
  await vi.advanceTimersByTimeAsync(999);
  expect(process.listenerCount('SIGUSR2')).toBe(before + 1);
  await vi.advanceTimersByTimeAsync(1);
  expect(process.listenerCount('SIGUSR2')).toBe(before);
});
