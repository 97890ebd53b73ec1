import { status as Status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { describeStatus } from '#grpc/grpc-status.ts';

test.each([
  [Status.DEADLINE_EXCEEDED, 'Deadline exceeded after 0.201s,LB pick: 0.001s,remote_addr=10.1.2.3:8001'],
  [Status.DEADLINE_EXCEEDED, 'Deadline exceeded after 0.201s,Waiting for LB pick'],
  [Status.UNAVAILABLE, 'No connection established. Last error: Error: connect ECONNREFUSED 10.1.2.3:8001'],
])('what grpc-js says of status %d by itself is told without the address in it', (code, details) => {
  const text = describeStatus({ code, details });
  expect(text).not.toMatch(/10\.1\.2\.3|LB pick/);
  expect(text).toMatch(/^The .*\.$/);
});

test("an engine's own words are told as they are", () => {
  const details = 'Request for unknown model: not found at tensor 127';
  expect(describeStatus({ code: Status.NOT_FOUND, details })).toBe(details);
});
