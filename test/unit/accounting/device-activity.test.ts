// What pollers tell, by window: spans are cut at seconds, gaps begin anew, and nothing is told of a window twice or too late.
import { describe, expect, test } from 'vitest';
import { DeviceActivity } from '#accounting/device-activity.ts';

const POOL = 'pool-a';
const HOUR = 1_790_000_000 - (1_790_000_000 % 3600);
const at = (second: number, ms = 0) => (HOUR + second) * 1000 + ms;
const span = (fromMs: number, toMs: number, busyMs: number) => ({
  pool: POOL,
  source: 'engine' as const,
  fromMs,
  toMs,
  busyMs,
});

describe('coverage', () => {
  test('spans that follow each other cover a window together, and one across an edge is cut there', () => {
    const activity = new DeviceActivity();
    activity.cover(span(at(10, 100), at(10, 400), 0));
    activity.cover(span(at(10, 400), at(11, 200), 400));
    expect(activity.take(HOUR + 11)).toEqual([
      { pool: POOL, window: HOUR + 10, activity: { source: 'engine', fromMs: 100, toMs: 1000, busyMs: 300 } },
      { pool: POOL, window: HOUR + 11, activity: { source: 'engine', fromMs: 0, toMs: 200, busyMs: 100 } },
    ]);
  });

  test('after a gap the coverage of the window begins anew: what was before is not known to be contiguous', () => {
    const activity = new DeviceActivity();
    activity.cover(span(at(10, 0), at(10, 200), 200));
    activity.cover(span(at(10, 500), at(10, 700), 50));
    expect(activity.take(HOUR + 10)[0]?.activity).toEqual({ source: 'engine', fromMs: 500, toMs: 700, busyMs: 50 });
  });

  test('many short iterations lose nothing to rounding', () => {
    const activity = new DeviceActivity();
    for (let index = 0; index < 300; index += 1) {
      const fromMs = at(10) + (index * 1000) / 300;
      activity.cover(span(fromMs, fromMs + 2.9, 2.9));
      activity.cover(span(fromMs + 2.9, fromMs + 1000 / 300, 0));
    }
    expect(activity.take(HOUR + 10)[0]?.activity).toEqual({ source: 'engine', fromMs: 0, toMs: 1000, busyMs: 870 });
  });

  test('the engine is told before DCGM, and spans without length or without end are ignored', () => {
    const activity = new DeviceActivity();
    activity.cover({ ...span(at(10), at(11), 400), source: 'dcgm' });
    activity.cover(span(at(10), at(10, 600), 100));
    activity.cover(span(at(10, 700), at(10, 600), 100));
    activity.cover(span(at(10, 700), Number.POSITIVE_INFINITY, 100));
    expect(activity.take(HOUR + 10)[0]?.activity?.source).toBe('engine');
    expect(activity.take(HOUR + 99)).toEqual([]);
  });
});

describe('sealing', () => {
  test('a window is told once, and nothing is told of it afterwards', () => {
    const activity = new DeviceActivity();
    activity.cover(span(at(10), at(13), 3000));
    expect(activity.take(HOUR + 11).map(({ window }) => window - HOUR)).toEqual([10, 11]);
    activity.cover(span(at(11), at(12), 1000));
    expect(activity.take(HOUR + 12).map(({ window }) => window - HOUR)).toEqual([12]);
    expect(activity.take(HOUR + 12)).toEqual([]);
  });

  test('GPU activity of sealed windows is told in the next one, unless that is another hour', () => {
    const activity = new DeviceActivity();
    activity.take(HOUR + 20);
    activity.addActive(POOL, { fromMs: at(0), toMs: at(15), activeMs: 9000 });
    expect(activity.take(HOUR + 21)).toEqual([{ pool: POOL, window: HOUR + 21, deviceActiveMs: 9000 }]);
    activity.take(HOUR + 3600);
    activity.addActive(POOL, { fromMs: at(3590), toMs: at(3599), activeMs: 9000 });
    expect(activity.take(HOUR + 9999)).toEqual([]);
  });

  test('the part of a sample that lies in the hour before is left out', () => {
    const activity = new DeviceActivity();
    activity.addActive(POOL, { fromMs: at(3580), toMs: at(3610), activeMs: 30_000 });
    expect(activity.take(HOUR + 3610)).toEqual([{ pool: POOL, window: HOUR + 3610, deviceActiveMs: 10_000 }]);
  });

  test('what is kept is bounded: of 70,000 windows the newest 60,000', () => {
    const activity = new DeviceActivity();
    for (let second = 0; second < 70_000; second += 1) activity.cover(span(at(second), at(second + 1), 1));
    const told = activity.take(HOUR + 99_999);
    expect(told).toHaveLength(60_000);
    expect(told[0]?.window).toBe(HOUR + 10_000);
  });
});
