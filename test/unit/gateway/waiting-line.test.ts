import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Urgency, type Waiter, WaitingLine } from '#gateway/waiting-line.ts';

interface Named extends Waiter {
  readonly name: string;
}

const waiter = (name: string, team: string, urgency: Urgency = 'first'): Named => ({ name, team, urgency });

function serveAll(line: WaitingLine<Named>): string[] {
  const names: string[] = [];
  for (let next = line.serve(() => true); next !== undefined; next = line.serve(() => true)) names.push(next.name);
  return names;
}

describe('a line', () => {
  it('serves teams in turn, and each team in the order of its coming', () => {
    const line = new WaitingLine<Named>();
    for (const name of ['a1', 'a2', 'a3', 'b1', 'c1', 'b2']) line.join(waiter(name, name.slice(0, 1)), 10);
    expect(serveAll(line)).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
    expect(line.length).toBe(0);
  });

  it('serves retries before first attempts', () => {
    const line = new WaitingLine<Named>();
    line.join(waiter('first', 'a'), 10);
    line.join(waiter('retry', 'b', 'retry'), 10);
    expect(serveAll(line)).toEqual(['retry', 'first']);
  });

  it('refuses whoever comes when it is full', () => {
    const line = new WaitingLine<Named>();
    expect([1, 2, 3].map((number) => line.join(waiter(`a${number}`, 'a'), 2))).toEqual([true, true, false]);
    expect(line.join(waiter('b1', 'b'), 0)).toBe(false);
    expect(serveAll(line)).toEqual(['a1', 'a2']);
  });

  it('forgets whoever leaves, once', () => {
    const line = new WaitingLine<Named>();
    const [first, second] = [waiter('a1', 'a'), waiter('a2', 'a')];
    line.join(first, 10);
    line.join(second, 10);
    expect([line.leave(first), line.leave(first), line.length]).toEqual([true, false, 1]);
    expect(serveAll(line)).toEqual(['a2']);
    expect(line.leave(second)).toBe(false);
  });

  it('passes over a team whose first cannot be served without costing it its turn', () => {
    const line = new WaitingLine<Named>();
    for (const name of ['a1', 'b1', 'b2']) line.join(waiter(name, name.slice(0, 1)), 10);
    expect(line.serve(({ team }) => team === 'b')?.name).toBe('b1');
    expect(serveAll(line)).toEqual(['a1', 'b2']);
    expect(line.serve(() => true)).toBeUndefined();
  });

  it('serves everybody exactly once, whoever leaves in between, and no team twice while another waits', () => {
    const action = fc.oneof(
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('join' as const), team: fc.constantFrom('a', 'b', 'c') }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('serve' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), index: fc.nat(50) }) },
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        const line = new WaitingLine<Named>();
        const waiting: Named[] = [];
        let count = 0;
        for (const step of actions) {
          if (step.kind === 'join') {
            const one = waiter(`${(count += 1)}`, step.team);
            line.join(one, 1000);
            waiting.push(one);
          } else if (step.kind === 'leave') {
            const [left] = waiting.splice(step.index, 1);
            if (left !== undefined) expect(line.leave(left)).toBe(true);
          } else {
            const served = line.serve(() => true);
            const oldestOfTeam = waiting.find(({ team }) => team === served?.team);
            expect(served).toBe(oldestOfTeam);
            if (served !== undefined) waiting.splice(waiting.indexOf(served), 1);
          }
          expect(line.length).toBe(waiting.length);
          expect(new Set(line)).toEqual(new Set(waiting));
        }
      }),
    );
  });
});
