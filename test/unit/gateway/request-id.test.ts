import { describe, expect, it } from 'vitest';
import { createRequestIds, readClientRequestId } from '#gateway/request-id.ts';

describe('request-id', () => {
  it('ids are UUIDs of version 7 that carry the time and ascend, however many a millisecond has', () => {
    let nowMs = 1_790_000_000_123;
    const create = createRequestIds(() => nowMs);
    const ids = Array.from({ length: 20_000 }, (_, index) => {
      if (index === 15_000) nowMs -= 500;
      return create();
    });
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Number.parseInt(ids[0]?.replace('-', '').slice(0, 12) ?? '', 16)).toBe(1_790_000_000_123);
  });

  it.each([
    ['abc-1.2:3_4', 'abc-1.2:3_4'],
    ['a'.repeat(128), 'a'.repeat(128)],
    ['a'.repeat(129), null],
    ['', null],
    ['a b', null],
    ['ü', null],
    [undefined, null],
  ])("a client's id is kept only in its safe alphabet and length: %s", (header, kept) => {
    expect(readClientRequestId(header)).toBe(kept);
  });
});
