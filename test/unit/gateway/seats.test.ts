// The set of what is in flight: a set like any other, but for what it forgets.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Seats, UNSEATED } from '#gateway/seats.ts';

const member = (name: number) => ({ name, seat: UNSEATED });

test('members come and go as in a Set, in whatever order', () => {
  const move = fc.tuple(fc.constantFrom('add', 'delete', 'clear'), fc.nat(7));
  fc.assert(
    fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
      const members = Array.from({ length: 8 }, (_, name) => member(name));
      const seats = new Seats<(typeof members)[number]>();
      const model = new Set<(typeof members)[number]>();
      for (const [kind, index] of moves) {
        const one = members[index] as (typeof members)[number];
        if (kind === 'add') {
          seats.add(one);
          model.add(one);
        } else if (kind === 'delete') expect(seats.delete(one)).toBe(model.delete(one));
        else {
          seats.clear();
          model.clear();
        }
        expect(seats.size).toBe(model.size);
        expect(new Set(seats)).toEqual(model);
      }
    }),
  );
});

test('a member may leave, and others come, while all are asked', () => {
  const seats = new Seats<ReturnType<typeof member>>();
  const first = [member(1), member(2), member(3)];
  for (const one of first) seats.add(one);
  const asked: number[] = [];
  for (const one of seats) {
    asked.push(one.name);
    seats.delete(one);
    if (one.name === 2) seats.add(member(4));
  }
  expect(asked.filter((name) => name < 4)).toEqual([1, 2, 3]);
  expect(seats.size).toBeLessThanOrEqual(1);
});

test('one of another set is not taken out', () => {
  const [here, there] = [new Seats<ReturnType<typeof member>>(), new Seats<ReturnType<typeof member>>()];
  const [one, other] = [member(1), member(2)];
  here.add(one);
  there.add(other);
  expect(here.delete(other)).toBe(false);
  expect([...here]).toEqual([one]);
  expect([...there]).toEqual([other]);
});
