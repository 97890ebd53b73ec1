import type { Dimension } from '#reports/dimensions.ts';
import { renderCsv } from '#reports/render-csv.ts';
import { renderTable } from '#reports/render-table.ts';
import type { IdlePolicy } from '#reports/report-shape.ts';
import { describe, expect, test } from 'vitest';
import { computeExample, createBook, createCell, EXAMPLE_BOOK, EXAMPLE_CELL } from './sample-books.ts';

function compute(
  overrides: { cells?: ReturnType<typeof createCell>[]; books?: ReturnType<typeof createBook>[] } = {},
  request: { groupBy?: Dimension[]; idlePolicy?: IdlePolicy; team?: string } = {},
) {
  return computeExample(overrides, { groupBy: ['team', 'deployment'], ...request });
}

describe('CSV', () => {
  test('has the columns of the contract and CRLF, idle beside its deployment', () => {
    expect(renderCsv(compute()).split('\r\n')).toEqual([
      'line,team,deployment,requests,failedRequests,inputTokens,cachedInputTokens,outputTokens,reasoningTokens,totalTokens,gpuSeconds,costUsd,idleShareUsd,totalUsd',
      'usage,search,llama-70b,120,2,9000,512,4000,0,13512,12.345678,0.008573387,0.000000000,0.008573387',
      'idle,,llama-70b,,,,,,,,,,,9.991426613',
      '',
    ]);
  });

  test('pending money has a line of its own, so that the sum stays the bill', () => {
    const book = createBook(
      {},
      { capacityNanoUsd: 10n, chargedNanoUsd: 7n, claimedNanoUsd: 5n, idleNanoUsd: 2n, unmeteredNanoUsd: 1n },
    );
    const cells = [createCell({}, { costNanoUsd: 5n })];
    const lines = renderCsv(compute({ cells, books: [book] }, { groupBy: ['team'] })).split('\r\n');
    expect(lines.slice(1, -1).map((line) => [line.split(',')[0], line.split(',').at(-1)])).toEqual([
      ['usage', '0.000000005'],
      ['idle', '0.000000002'],
      ['unmetered', '0.000000001'],
      ['pending', '0.000000002'],
    ]);
  });

  test('names that look like formulas become text, quotes and line breaks survive, numbers stay numbers', () => {
    const cells = ['=1+1', '+cmd', '-2+3', '@sum', '-5', 'a,"b"\nc'].map((team) =>
      createCell({ team }, { costNanoUsd: 1n }),
    );
    const text = renderCsv(compute({ cells }, { groupBy: ['team'] }));
    for (const cell of ["'=1+1", "'+cmd", "'-2+3", "'@sum"]) expect(text).toContain(`usage,${cell},`);
    expect(text).toContain('usage,-5,');
    expect(text).toContain('usage,"a,""b""\nc",');
  });

  test('a line break in a name ends no row, whatever else the name holds', () => {
    const cells = ['x\ny', 'x\ry', '\n=1+1'].map((team) => createCell({ team }, { costNanoUsd: 1n }));
    const text = renderCsv(compute({ cells }, { groupBy: ['team'] }));
    for (const cell of ['"x\ny"', '"x\ry"', `"'\n=1+1"`]) expect(text).toContain(`\r\nusage,${cell},`);
  });

  test('a team that is filtered gets its own lines and not the bill', () => {
    const lines = renderCsv(compute({}, { team: 'search' }))
      .trimEnd()
      .split('\r\n');
    expect(lines.slice(1).map((line) => line.split(',')[0])).toEqual(['usage']);
  });
});

describe('the table', () => {
  test('names from requests cannot steer a terminal', () => {
    const cells = [createCell({ team: 'evil\u001B[2J\u0007\u202Edaolyap\u2028' }, { costNanoUsd: 1n })];
    const text = renderTable(compute({ cells }), { color: false });
    for (const steering of ['\u001B', '\u0007', '\u202E', '\u2028']) expect(text).not.toContain(steering);
  });

  test('shows the sum of several rows, and shared idle as a column', () => {
    const cells = [EXAMPLE_CELL, createCell({ team: 'chat' }, { costNanoUsd: 1_426_613n, requests: 5n })];
    const text = renderTable(compute({ cells }, { groupBy: ['team'], idlePolicy: 'proportional' }), { color: false });
    expect(text).toMatch(/total\s+│\s+125 │/);
    expect(text).toContain('idle $');
    expect(text).toContain('Idle given to nobody: $0.000000 of $9.991427.');
  });

  test('an imbalance is stated in nanodollars', () => {
    const books = [createBook({}, { ...EXAMPLE_BOOK.metrics, idleNanoUsd: 9_991_426_610n })];
    expect(renderTable(compute({ books }), { color: false })).toContain('difference 3 nanodollars');
  });
});
