// Provisioned, available, observed: against a naive second-by-second reading, over daylight saving, and over a year.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findScheduledSpans } from '#accounting/provisioning-schedule.ts';
import { findProvisioningRuns, type ProvisioningQuery } from '#accounting/provisioning.ts';
import type { ScheduleRule } from '#domain/pool-facts.ts';
import { createPoolFacts } from '#test/support/settlement-facts.ts';

const second = (text: string): number => Date.parse(text) / 1000;
const rule = (overrides: Partial<ScheduleRule> = {}): ScheduleRule => ({
  days: [1, 2, 3, 4, 5],
  fromMinute: 480,
  toMinute: 1200,
  timezone: 'Europe/Berlin',
  ...overrides,
});
const spansOf = (rules: readonly ScheduleRule[], from: string, to: string) =>
  findScheduledSpans(rules, { from: second(from), to: second(to) }).map(([first, last]) => [
    new Date(first * 1000).toISOString().slice(0, 19),
    new Date((last + 1) * 1000).toISOString().slice(0, 19),
  ]);

describe('schedule', () => {
  test('working hours in Berlin move by an hour of UTC over daylight saving', () => {
    expect(spansOf([rule()], '2026-03-27T00:00:00Z', '2026-03-30T23:59:59Z')).toEqual([
      ['2026-03-27T07:00:00', '2026-03-27T19:00:00'],
      ['2026-03-30T06:00:00', '2026-03-30T18:00:00'],
    ]);
  });

  test('a day has 23 hours when clocks go forward and 25 when they go back', () => {
    const whole = rule({ days: [7], fromMinute: 0, toMinute: 1440 });
    expect(spansOf([whole], '2026-03-28T00:00:00Z', '2026-03-30T00:00:00Z')).toEqual([
      ['2026-03-28T23:00:00', '2026-03-29T22:00:00'],
    ]);
    expect(spansOf([whole], '2026-10-24T00:00:00Z', '2026-10-26T00:00:00Z')).toEqual([
      ['2026-10-24T22:00:00', '2026-10-25T23:00:00'],
    ]);
  });

  test('a time that the change skips is the change, a time that comes twice is taken widely', () => {
    const night = rule({ days: [7], fromMinute: 150, toMinute: 240 });
    expect(spansOf([night], '2026-03-29T00:00:00Z', '2026-03-29T12:00:00Z')).toEqual([
      ['2026-03-29T01:00:00', '2026-03-29T02:00:00'],
    ]);
    const twice = rule({ days: [7], fromMinute: 120, toMinute: 150 });
    expect(spansOf([twice], '2026-10-25T00:00:00Z', '2026-10-25T12:00:00Z')).toEqual([
      ['2026-10-25T00:00:00', '2026-10-25T01:30:00'],
    ]);
  });

  test('a span over midnight begins on its own week day, also where the zone is a day away from UTC', () => {
    const overnight = rule({ days: [5], fromMinute: 1320, toMinute: 360, timezone: 'Pacific/Auckland' });
    expect(spansOf([overnight], '2026-07-01T00:00:00Z', '2026-07-08T00:00:00Z')).toEqual([
      ['2026-07-03T10:00:00', '2026-07-03T18:00:00'],
    ]);
  });

  test('rules join where they touch or overlap, and the range cuts them', () => {
    const rules = [rule({ timezone: 'UTC' }), rule({ timezone: 'UTC', fromMinute: 1200, toMinute: 1260 })];
    expect(spansOf(rules, '2026-07-01T09:00:00Z', '2026-07-01T20:30:00Z')).toEqual([
      ['2026-07-01T09:00:00', '2026-07-01T20:30:01'],
    ]);
  });

  test('at every minute of a week the span says what the local clock says', () => {
    const zones = ['America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe'];
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.subarray([1, 2, 3, 4, 5, 6, 7]),
        fc.nat(1439),
        fc.integer({ min: 1, max: 1440 }),
        (timezone, days, fromMinute, toMinute) => {
          fc.pre(toMinute > fromMinute);
          const from = second('2026-07-06T00:00:00Z');
          const to = from + 3 * 86_400;
          const spans = findScheduledSpans([rule({ timezone, days, fromMinute, toMinute })], { from, to });
          const format = new Intl.DateTimeFormat('en-GB', {
            timeZone: timezone,
            weekday: 'short',
            hour: '2-digit',
            minute: '2-digit',
          });
          for (let window = from; window <= to; window += 660) {
            const [day = '', time = ''] = format.format(window * 1000).split(/[ ,]+/);
            const minute = Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
            const weekday = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'].indexOf(day) + 1;
            const expected = days.includes(weekday) && minute >= fromMinute && minute < toMinute;
            expect(spans.some(([first, last]) => first <= window && window <= last)).toBe(expected);
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});

const query = (overrides: Partial<ProvisioningQuery> = {}): ProvisioningQuery => ({
  facts: createPoolFacts(),
  from: 0,
  to: 99,
  health: [],
  members: [{ journal: 'A', blind: [] }],
  ...overrides,
});
const change = (journal: string, window: number, healthy: boolean) => ({ journal, pool: 'pool-a', window, healthy });

describe('runs', () => {
  test('one quiet member and no opinion: provisioned, available and observed in one run', () => {
    expect(findProvisioningRuns(query())).toEqual([
      { from: 0, to: 99, provisioned: true, available: true, observed: true },
    ]);
  });

  test('a pool is healthy while any watching member says so', () => {
    const runs = findProvisioningRuns(
      query({
        members: [
          { journal: 'A', blind: [] },
          { journal: 'B', blind: [[60, 79]] },
        ],
        health: [change('B', 0, true), change('A', 20, false)],
      }),
    );
    expect(runs.map(({ from, to, available }) => [from, to, available])).toEqual([
      [0, 59, true],
      [60, 79, false],
      [80, 99, true],
    ]);
  });

  test('the opinion of members that left counts only while no watching member has one', () => {
    const health = [change('gone', 0, false), change('A', 50, true)];
    expect(findProvisioningRuns(query({ health })).map(({ to, available }) => [to, available])).toEqual([
      [49, false],
      [99, true],
    ]);
  });

  test('a window is unobserved when every member was blind, and the health opinion is kept', () => {
    const runs = findProvisioningRuns(
      query({
        facts: createPoolFacts({ provisioned: { kind: 'health' } }),
        members: [
          { journal: 'A', blind: [[10, 30]] },
          { journal: 'B', blind: [[20, 40]] },
        ],
        health: [change('A', 25, false), change('B', 35, true)],
      }),
    );
    expect(runs).toEqual([
      { from: 0, to: 19, provisioned: true, available: true, observed: true },
      { from: 20, to: 24, provisioned: true, available: true, observed: false },
      { from: 25, to: 30, provisioned: false, available: false, observed: false },
      { from: 31, to: 40, provisioned: false, available: false, observed: true },
      { from: 41, to: 99, provisioned: true, available: true, observed: true },
    ]);
  });

  test('an inactive pool is never provisioned, other pools’ health is not its own', () => {
    const facts = createPoolFacts({ active: false });
    const health = [{ ...change('A', 10, false), pool: 'pool-b' }];
    expect(findProvisioningRuns(query({ facts, health }))).toEqual([
      { from: 0, to: 99, provisioned: false, available: true, observed: true },
    ]);
  });

  test('runs cover the range without gap or overlap and say at each window what a naive reading says', () => {
    const window = fc.integer({ min: -20, max: 119 });
    const member = fc.record({
      journal: fc.constantFrom('A', 'B', 'C'),
      blind: fc.array(fc.tuple(window, window), { maxLength: 4 }),
    });
    const opinion = fc.record({ journal: fc.constantFrom('A', 'B', 'X'), window, healthy: fc.boolean() });
    fc.assert(
      fc.property(
        fc.uniqueArray(member, { selector: (entry) => entry.journal }),
        fc.uniqueArray(opinion, { selector: (entry) => entry.window, maxLength: 8 }),
        fc.constantFrom('always' as const, 'health' as const),
        (members, opinions, kind) => {
          const health = opinions.map((entry) => ({ ...entry, pool: 'pool-a' }));
          const facts = createPoolFacts({ provisioned: { kind } });
          const runs = findProvisioningRuns(query({ facts, members, health }));
          expect(runs[0]?.from).toBe(0);
          expect(runs.at(-1)?.to).toBe(99);
          for (const [index, run] of runs.entries()) {
            if (index > 0) expect(run.from).toBe((runs[index - 1]?.to ?? Number.NaN) + 1);
            for (let at = run.from; at <= run.to; at += 1) {
              const watching = members.filter(({ blind }) => !blind.some(([from, to]) => from <= at && at <= to));
              const past = health.filter((entry) => entry.window <= at).toSorted((a, b) => a.window - b.window);
              const current = watching
                .map(({ journal }) => past.findLast((entry) => entry.journal === journal)?.healthy)
                .filter((value) => value !== undefined);
              const available = current.length > 0 ? current.includes(true) : (past.at(-1)?.healthy ?? true);
              expect(run.available).toBe(available);
              expect(run.observed).toBe(watching.length > 0);
              expect(run.provisioned).toBe(kind === 'always' || available);
            }
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test('a year of a schedule is a few hundred runs, not millions of windows', () => {
    const facts = createPoolFacts({ provisioned: { kind: 'schedule', rules: [rule()] } });
    const from = second('2026-01-01T00:00:00Z');
    const runs = findProvisioningRuns(query({ facts, from, to: from + 365 * 86_400 - 1 }));
    expect(runs.length).toBe(2 * 261 + 1);
    const paid = runs.filter((run) => run.provisioned).reduce((sum, run) => sum + run.to - run.from + 1, 0);
    expect(paid).toBe(261 * 12 * 3600);
  });
});
