import { createAccessLog } from '#observe/access-log.ts';
import { createLogging, openAccessSink } from '#observe/logging.ts';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { RECORD } from './sample-record.ts';

function collect() {
  const lines: string[] = [];
  return { lines, destination: { write: (line: string) => void lines.push(line) } };
}

describe('logging', () => {
  test('writes JSON lines with time, level and message, and keeps to the level', () => {
    const { lines, destination } = collect();
    const log = createLogging({ level: 'info', format: 'json' }, destination);
    log.debug({ a: 1 }, 'hidden');
    log.warn({ upstream: 'trt-1' }, 'upstream unhealthy');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { level: 'warn', time: expect.stringMatching(/^\d{4}-.*Z$/), upstream: 'trt-1', msg: 'upstream unhealthy' },
    ]);
  });

  test('secrets in logged objects are blanked out, however deep', () => {
    const { lines, destination } = collect();
    const log = createLogging({ level: 'info', format: 'json' }, destination);
    log.info(
      {
        authorization: 'canary-1',
        upstream: { apiKey: 'canary-2', headers: { 'x-api-key': 'canary-3', authorization: 'canary-4' } },
        admin: { token: 'canary-5' },
        config: { store: { url: 'redis://user:canary-6@host' } },
        store: { url: 'redis://user:canary-7@host' },
      },
      'whole objects',
    );
    expect(lines.join('')).not.toContain('canary');
  });

  test('pretty lines are readable and lose nothing', () => {
    const { lines, destination } = collect();
    createLogging({ level: 'info', format: 'pretty' }, destination).error({ reason: 'refused' }, 'store down');
    expect(lines.join('')).toMatch(/ERROR.*store down[\s\S]*refused/);
  });
});

describe('the access log', () => {
  test('writes one line of ids, counts and times, and nothing a client wrote', () => {
    const lines: string[] = [];
    createAccessLog({ write: (line) => void lines.push(line) }).recordFinished({
      ...RECORD,
      requestedModel: 'canary',
      user: 'canary',
      tags: { canary: 'canary' },
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^\{.*\}$/);
    expect(lines[0]).not.toContain('canary');
    expect(JSON.parse(lines[0] ?? '')).toEqual(
      expect.objectContaining({
        level: 'info',
        time: new Date(RECORD.endedAtMs).toISOString(),
        requestId: '0199',
        team: 'search',
        status: 200,
        outcome: 'completed',
        totalTokens: 1118,
        durationMs: 1504,
        msg: 'request',
      }),
    );
  });
});

describe('the access logging', () => {
  test('batches lines and has written them all a moment after the last one', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'inferometer-log-')), 'access.log');
    const sink = openAccessSink({ level: 'info', format: 'json' }, path);
    for (let index = 0; index < 500; index += 1) sink.write(`{"requestId":"r${index}"}`);
    await vi.waitFor(() => expect(readFileSync(path, 'utf8').trim().split('\n')).toHaveLength(500), { timeout: 5000 });
    expect(readFileSync(path, 'utf8').split('\n')[499]).toBe('{"requestId":"r499"}');
  });

  test('is silent where only warnings are wanted', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'inferometer-log-')), 'access.log');
    openAccessSink({ level: 'warn', format: 'json' }, path).write('{}');
    expect(existsSync(path)).toBe(false);
  });
});
