// The benchmark itself, small: conservation to the nanodollar whatever happens to a gateway, and charges near the truth.
import { beforeAll, describe, expect, test } from 'vitest';
import { failsRun, missedTargets } from '#test/bench/attribution/accuracy-targets.ts';
import { findEngineShape } from '#test/bench/attribution/engine-shapes.ts';
import { planTraffic } from '#test/bench/attribution/plan-traffic.ts';
import { renderJson, renderTables, renderVerdict } from '#test/bench/attribution/render-scores.ts';
import { runEngine } from '#test/bench/attribution/run-engine.ts';
import { type Cell, runMatrix, watcherKinds } from '#test/bench/attribution/run-matrix.ts';
import { scoreCharges } from '#test/bench/attribution/score-charges.ts';

const shape = findEngineShape('roofline-8b');

describe('a small run of the matrix', () => {
  let cells: readonly Cell[] = [];
  const find = (watchers: string, method: string): Cell => {
    const cell = cells.find((known) => known.watchers === watchers && known.method === method);
    if (cell === undefined) throw new Error(`no cell ${watchers}, ${method}`);
    return cell;
  };

  beforeAll(async () => {
    cells = await runMatrix({
      shape,
      loads: ['80% throughput'],
      durationScale: 0.25,
      sources: ['declared', 'builtin'],
    });
  }, 60_000);

  test('books balance to the nanodollar and everything settles, with three processes and one killed', () => {
    const watched = cells.filter((cell) => cell.books !== null);
    expect(watched).toHaveLength(2 * watcherKinds.length);
    for (const { books } of watched) {
      expect(books?.differences).toEqual({ capacity: 0n, idle: 0n, records: 0n, rollups: 0n });
      expect(books?.residualGpuMicros).toBe(0n);
      expect(books?.unsettled).toBe(0);
      expect(books?.late).toBe(0);
      expect(books?.chargedGpuMicros).toBeGreaterThan(0n);
    }
  });

  test.each(['1 process', '3 processes', '3, one killed'])('charges lie near the truth: %s', (watchers) => {
    const { charges, books } = find(watchers, 'declared');
    expect(charges.requests).toBeGreaterThan(200);
    expect(charges.median).toBeLessThan(0.08);
    expect(charges.p95).toBeLessThan(0.3);
    expect(Math.abs(charges.worstTeam.error)).toBeLessThan(0.08);
    expect(Math.abs(books?.idleError ?? 1)).toBeLessThan(0.01);
  });

  test('a gateway that is told nothing of the prefix cache charges nearly what one would that is told everything', () => {
    const told = find('1 process', 'declared').charges;
    const hidden = find('1, cache hidden', 'declared').charges;
    expect(hidden.median - told.median).toBeLessThan(0.01);
    expect(hidden.p95 - told.p95).toBeLessThan(0.02);
    for (const [index, team] of told.teams.entries()) {
      expect(Math.abs(team.error - (hidden.teams[index]?.error ?? 1))).toBeLessThan(0.015);
    }
  });

  test('three gateways charge what one would', () => {
    const one = find('1 process', 'declared').charges;
    const three = find('3 processes', 'declared').charges;
    for (const [index, team] of one.teams.entries()) {
      expect(Math.abs(team.error - (three.teams[index]?.error ?? 1))).toBeLessThan(0.025);
    }
  });

  test('busy time and profile from the engine keep the books exact, with three processes and one killed, and idle near the truth', async () => {
    const [cell] = await runMatrix({
      shape,
      loads: ['60% of time'],
      durationScale: 0.15,
      sources: ['engine statistics'],
      watchers: watcherKinds.filter(({ name }) => name === '3, one killed'),
    });
    expect(cell?.books?.differences).toEqual({ capacity: 0n, idle: 0n, records: 0n, rollups: 0n });
    expect(cell?.books?.unsettled).toBe(0);
    expect(cell?.books?.engineWindows).toBeGreaterThan(60);
    expect(cell?.charges.median).toBeLessThan(0.05);
    expect(Math.abs(cell?.books?.idleError ?? 1)).toBeLessThan(0.01);
  }, 60_000);

  test('every naive method is further from the truth than the work model', () => {
    const naive = cells.filter((cell) => cell.watchers === 'naive');
    expect(naive).toHaveLength(4);
    const { median } = find('1 process', 'declared').charges;
    for (const cell of naive) expect(cell.charges.median).toBeGreaterThan(3 * median);
  });

  test('tables, verdict and JSON name every cell', () => {
    const tables = renderTables(cells);
    for (const { method, watchers } of cells) {
      expect(tables).toContain(method);
      expect(tables).toContain(watchers);
    }
    expect(renderVerdict(cells)).toContain(`${watcherKinds.length} cells are held to them`);
    expect(JSON.parse(renderJson(cells)).cells).toHaveLength(cells.length);
  });

  test('a cell fails for each target it misses, and for one lost nanodollar whatever its source', () => {
    const good: Cell = {
      ...find('1 process', 'declared'),
      charges: {
        ...find('1 process', 'declared').charges,
        median: 0.05,
        p95: 0.2,
        worstTeam: { team: 'chat', error: -0.05 },
      },
    };
    if (good.books === null) throw new Error('a watched cell has books');
    expect(missedTargets(good)).toEqual([]);
    const bad: Cell = {
      ...good,
      charges: { ...good.charges, median: 0.051, p95: 0.21, worstTeam: { team: 'chat', error: -0.051 } },
      books: { ...good.books, idleError: -0.011, differenceNanoUsd: 1n },
    };
    expect(missedTargets(bad)).toEqual(['median', 'p95', 'team', 'idle', 'books']);
    expect(failsRun({ ...bad, held: false })).toBe(true);
    expect(failsRun({ ...bad, held: false, books: good.books })).toBe(false);
    expect(failsRun({ ...bad, books: good.books })).toBe(true);
  });
});

describe('the trace', () => {
  const traffic = planTraffic({ ratePerSecond: 6, durationMs: 40_000, seed: 4 });

  test('true times add up to the time the engine was busy, aborted and interrupted requests included', () => {
    const trace = runEngine(shape, traffic, { atMs: 20_000, concerns: (plan) => plan.id % 3 === 1 });
    const sum = trace.requests.reduce((total, request) => total + request.trueMs, 0);
    expect(sum).toBeCloseTo(trace.busyMs, 6);
    expect(new Set(trace.requests.map((request) => request.outcome))).toContain('interrupted');
    expect(trace.requests).toHaveLength(traffic.length);
  });

  test('the same plan gives the same trace', () => {
    expect(runEngine(shape, planTraffic({ ratePerSecond: 6, durationMs: 40_000, seed: 4 }))).toEqual(
      runEngine(shape, traffic),
    );
  });

  test('chunks of a stream arrive in order, within the request, and hold all its tokens', () => {
    for (const request of runEngine(shape, traffic).requests.filter(({ plan }) => plan.stream)) {
      const { chunkAtMs, chunkTokens, endAtMs, plan, outcome, completionTokens } = request;
      expect(chunkAtMs).toEqual(chunkAtMs.toSorted((a, b) => a - b));
      expect(chunkAtMs[0]).toBeGreaterThan(plan.sentAtMs);
      expect(chunkAtMs.at(-1)).toBeLessThanOrEqual(endAtMs);
      const sent = chunkTokens.reduce((sum, tokens) => sum + tokens, 0);
      if (outcome === 'completed') expect(sent).toBe(completionTokens);
      else expect(sent).toBeLessThanOrEqual(completionTokens);
    }
  });

  test('errors are told from charges: exact ones are zero, a missing charge is an error of 100 %', () => {
    const { requests } = runEngine(shape, traffic);
    const exact = new Map(requests.map(({ plan, trueMs }) => [plan.id, trueMs]));
    expect(scoreCharges(requests, exact)).toMatchObject({ median: 0, p95: 0, sumError: 0 });
    expect(scoreCharges(requests, new Map())).toMatchObject({ median: 1, p95: 1, sumError: -1 });
    const chatTwice = new Map(
      requests.map(({ plan, trueMs }) => [plan.id, plan.team === 'chat' ? 2 * trueMs : trueMs]),
    );
    expect(scoreCharges(requests, chatTwice).worstTeam).toMatchObject({ team: 'chat', error: expect.closeTo(1, 9) });
  });
});
